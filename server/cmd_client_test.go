package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond/server/acl"
	"github.com/sessiond/sessiond/ttl"
)

// words splits a line into arguments; "_" stands for the empty one.
func words(line string) [][]byte {
	var args [][]byte
	for _, word := range strings.Fields(line) {
		args = append(args, []byte(strings.TrimPrefix(word, "_")))
	}
	return args
}

func TestParseClientKill(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line string
		want clientFilter
		err  error
	}{
		{"1.2.3.4:5", clientFilter{addr: wantedText{true, "1.2.3.4:5"}, oldForm: true}, nil},
		{"id", clientFilter{addr: wantedText{true, "id"}, oldForm: true}, nil},
		{"id 7", clientFilter{id: 7, sparesSelf: true}, nil},
		{"ID 7 id 8", clientFilter{id: 8, sparesSelf: true}, nil},
		{"skipme no addr 1:2 laddr 3:4", clientFilter{addr: wantedText{true, "1:2"}, laddr: wantedText{true, "3:4"}}, nil},
		{"SKIPME No SkipMe YES", clientFilter{sparesSelf: true}, nil},
		{"user default type normal", clientFilter{user: wantedText{true, "default"}, kind: "normal", sparesSelf: true}, nil},
		{"type REPLICA", clientFilter{kind: "replica", sparesSelf: true}, nil},
		{"id 0", clientFilter{}, errClientIDPositive},
		{"id 9223372036854775808", clientFilter{}, errClientIDPositive},
		{"id 7 addr", clientFilter{}, errSyntax},
		{"maxage 7", clientFilter{}, errSyntax},
		{"skipme _", clientFilter{}, errSyntax},
		{"user Default", clientFilter{}, errNoSuchUser([]byte("Default"))},
		{"type _", clientFilter{}, errClientKind(nil)},
	}
	for _, test := range tests {
		got, err := parseClientKill(words(test.line), onlyDefault)
		if !errors.Is(err, test.err) || err == nil && got != test.want {
			t.Errorf("parseClientKill(%q) = %+v, %v, want %+v, %v", test.line, got, err, test.want, test.err)
		}
	}
}

func TestParseClientList(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line string
		want clientListOptions
		err  error
	}{
		{"", clientListOptions{}, nil},
		{"type NORMAL", clientListOptions{kind: "normal"}, nil},
		{"id 3 1 3 2", clientListOptions{ids: []int64{3, 1, 2}}, nil},
		{"id -1", clientListOptions{ids: []int64{-1}}, nil},
		{"id", clientListOptions{}, errSyntax},
		{"type", clientListOptions{}, errSyntax},
		{"type normal id 3", clientListOptions{}, errSyntax},
		{"id 3 type normal", clientListOptions{}, errClientID},
	}
	for _, test := range tests {
		got, err := parseClientList(words(test.line))
		if !errors.Is(err, test.err) || err == nil && !reflect.DeepEqual(got, test.want) {
			t.Errorf("parseClientList(%q) = %+v, %v, want %+v, %v", test.line, got, err, test.want, test.err)
		}
	}
}

// ask sends a command line and returns the reply.
func ask(t *testing.T, w io.Writer, r *bufio.Reader, line string) value {
	t.Helper()
	if _, err := io.WriteString(w, encode(splitWords(t, line))); err != nil {
		t.Fatal(err)
	}
	return readValue(t, r)
}

// Ensure that the line of CLIENT LIST has every field of Redis 7.0 and the two of 7.2, and
// that it shows what another connection is doing.
func TestClientList_Line(t *testing.T) {
	t.Parallel()
	clock := ttl.NewManual(1_000_000)
	_, addr := startServer(t, clock, Config{})
	first, r := dialServer(t, addr)
	ask(t, first, r, "hello 3 setname worker")
	ask(t, first, r, "client setinfo lib-name lib")
	ask(t, first, r, "client setinfo lib-ver 1.0")
	ask(t, first, r, "client no-evict on")
	ask(t, first, r, "client no-touch on")
	ask(t, first, r, "select 3")
	ask(t, first, r, "multi")
	ask(t, first, r, "set k v")
	clock.Advance(5 * time.Second)
	second, r2 := dialServer(t, addr)
	ask(t, second, r2, "ping") // it was opened by now
	clock.Advance(2 * time.Second)

	got := ask(t, second, r2, "client list").text
	want := fmt.Sprintf("id=1 addr=%s laddr=%s fd=-1 name=worker age=7 idle=7 flags=xeT db=3 "+
		"sub=0 psub=0 ssub=0 multi=1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 "+
		"obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=set user=default redir=-1 resp=3 "+
		"lib-name=lib lib-ver=1.0\n"+
		"id=2 addr=%s laddr=%s fd=-1 name= age=2 idle=0 flags=N db=0 "+
		"sub=0 psub=0 ssub=0 multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 "+
		"obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=client|list user=default redir=-1 resp=2 "+
		"lib-name= lib-ver=\n", first.LocalAddr(), addr, second.LocalAddr(), addr)
	if got != want {
		t.Errorf("CLIENT LIST =\n%swant\n%s", got, want)
	}
	lines := strings.SplitAfter(want, "\n")
	if got := ask(t, second, r2, "client list id 2 7 2").text; got != lines[1] {
		t.Errorf("CLIENT LIST ID 2 7 2 = %q, want %q", got, lines[1])
	}
	info := strings.Replace(lines[1], "client|list", "client|info", 1)
	if got := ask(t, second, r2, "client info").text; got != info {
		t.Errorf("CLIENT INFO = %q, want %q", got, info)
	}
}

// Ensure that RESET forgets name and no-touch but, as in Redis 7, keeps the library and
// no-evict.
func TestReset_KeepsLibrary(t *testing.T) {
	t.Parallel()
	_, addr := startServer(t, ttl.NewManual(1), Config{})
	nc, r := dialServer(t, addr)
	for _, line := range []string{
		"hello 3 setname me", "client setinfo lib-name lib", "client no-evict on",
		"client no-touch on", "select 2", "multi", "reset",
	} {
		ask(t, nc, r, line)
	}
	got := ask(t, nc, r, "client info").text
	for _, want := range []string{" name= ", " flags=e ", " db=0 ", " multi=-1 ", " resp=2 ", " lib-name=lib "} {
		if !strings.Contains(got, want) {
			t.Errorf("CLIENT INFO after RESET = %q, want %q in it", got, want)
		}
	}
}

// Ensure that the old form of CLIENT KILL, with an address, ends that connection, also the
// caller's own.
func TestClientKill_Address(t *testing.T) {
	t.Parallel()
	_, addr := startServer(t, ttl.NewManual(1), Config{})
	first, r := dialServer(t, addr)
	second, r2 := dialServer(t, addr)
	ask(t, second, r2, "ping")
	for _, victim := range []struct {
		nc net.Conn
		r  *bufio.Reader
	}{{second, r2}, {first, r}} {
		if got := ask(t, first, r, "client kill "+victim.nc.LocalAddr().String()); got.text != "OK" {
			t.Fatalf("CLIENT KILL = %q, want OK", got.text)
		}
		if rest, err := io.ReadAll(victim.r); len(rest) > 0 || isTimeout(err) {
			t.Errorf("the connection goes on with %q, %v", rest, err)
		}
	}
}

func isTimeout(err error) bool {
	var late net.Error
	return errors.As(err, &late) && late.Timeout()
}

// Ensure that a connection over a Unix socket shows the path, as Redis does.
func TestClientList_UnixSocket(t *testing.T) {
	t.Parallel()
	srv, _ := startServer(t, ttl.NewManual(1), Config{})
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Skipf("no Unix sockets: %v", err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	t.Cleanup(func() {
		_ = srv.Close() // it returns no error
		<-served
	})
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	got := ask(t, nc, bufio.NewReader(nc), "client list").text
	want := fmt.Sprintf(" addr=%s:0 laddr=%s:0 .* flags=U ", path, path)
	if !regexp.MustCompile(want).MatchString(got) {
		t.Errorf("CLIENT LIST = %q, want %q in it", got, want)
	}
}

func FuzzParseConnectionOptions(f *testing.F) {
	for _, line := range []string{
		"3 AUTH u p SETNAME n", "ID 7 SKIPME no TYPE normal", "ID 1 2 3", "NOSAVE NOW FORCE",
		"FILTERBY ACLCAT read", "timeout 1 maxclients 2",
	} {
		f.Add(line)
	}
	known := newSettings(Settings{}, 16)
	f.Fuzz(func(t *testing.T, line string) {
		args := words(line)
		if o, err := parseHello(args); err == nil && o.proto == 0 && len(args) > 0 {
			t.Errorf("parseHello(%q) has no protocol", args)
		}
		if len(args) > 0 {
			if o, err := parseClientKill(args, onlyDefault); err == nil && o.id < 0 {
				t.Errorf("parseClientKill(%q).id = %d", args, o.id)
			}
		}
		if o, err := parseClientList(args); err == nil && len(o.ids) > len(args) {
			t.Errorf("parseClientList(%q) = %v", args, o.ids)
		}
		if filter, err := parseCommandList(args); err == nil && filter == nil {
			t.Errorf("parseCommandList(%q) = nil", args)
		}
		if list, err := parseConfigSet(known, args); err == nil && len(list)*2 != len(args) {
			t.Errorf("parseConfigSet(%q) = %d settings", args, len(list))
		}
		_, _ = parseShutdown(args) // it must not panic
	})
}

// Ensure that a killed connection is gone at once, though its goroutine still ends.
func TestClients_WithoutKilled(t *testing.T) {
	t.Parallel()
	srv, addr := startServer(t, ttl.NewManual(1), Config{})
	first, r := dialServer(t, addr)
	second, r2 := dialServer(t, addr)
	ask(t, first, r, "ping")
	ask(t, second, r2, "ping")
	srv.clients([]int64{1})[0].isCut.Store(true)
	if got := ask(t, second, r2, "client kill id 1").text; got != "0" {
		t.Errorf("CLIENT KILL of a killed connection = %q, want 0", got)
	}
	if got := ask(t, second, r2, "client list").text; !strings.HasPrefix(got, "id=2 ") {
		t.Errorf("CLIENT LIST = %q, want only id=2", got)
	}
}

func onlyDefault(user string) bool { return user == acl.DefaultName }
