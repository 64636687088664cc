package compat_test

import (
	"bytes"
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// login is how a client introduces itself.
type login struct {
	username, password string
	db                 int
	name               string
}

// goClient is what the tests need of a client library, each through its own typed API.
type goClient interface {
	Set(key, value string, ttl time.Duration) error
	SetNX(key, value string, ttl time.Duration) (bool, error)
	Get(key string) (value string, found bool, err error)
	// GetEx reads and moves the deadline.
	GetEx(key string, ttl time.Duration) (value string, found bool, err error)
	// MGet returns nil for a key that is absent.
	MGet(keys ...string) ([]*string, error)
	Expire(key string, ttl time.Duration) (bool, error)
	// TTL returns Redis' number of milliseconds: -1 without deadline, -2 without key.
	TTL(key string) (int64, error)
	Del(keys ...string) (int64, error)
	// Scan returns every key that matches, in any order.
	Scan(match string) ([]string, error)
	// Pipeline sets all and reads all back, in one write.
	Pipeline(keys, values []string) ([]string, error)
	// Transaction sets and counts in MULTI and EXEC, in one write, and returns the count.
	Transaction(key, value, counter string) (int64, error)
	// Increment adds one to a counter by WATCH, GET, MULTI, SET, EXEC, once; false says
	// that somebody else changed it in between.
	Increment(counter string) (bool, error)
	// Name returns the reply to CLIENT GETNAME.
	Name() (string, error)
	Close() error
}

// goClients are the libraries under test, by the name and major version people know.
var goClients = []struct {
	name string
	open func(addr string, l login) (goClient, error)
}{
	{"go-redis v9 RESP3", openGoRedis9(3)},
	{"go-redis v9 RESP2", openGoRedis9(2)},
	{"go-redis v8", openGoRedis8},
	{"redigo", openRedigo},
	{"rueidis", openRueidis},
}

// eachGoClient runs a test for every library, with a server of its own.
func eachGoClient(t *testing.T, test func(t *testing.T, open func(login) goClient), flags ...string) {
	t.Parallel()
	for _, lib := range goClients {
		t.Run(lib.name, func(t *testing.T) {
			t.Parallel()
			s := proc.Start(t, flags...)
			test(t, func(l login) goClient {
				c, err := lib.open(s.Addr, l)
				if err != nil {
					t.Fatalf("open: %v\n%s", err, s.Log())
				}
				t.Cleanup(func() { _ = c.Close() }) // the test is over
				return c
			})
		})
	}
}

// Ensure that each library works without a password, with another database and with a name.
func TestGoClients_Connect(t *testing.T) {
	eachGoClient(t, func(t *testing.T, open func(login) goClient) {
		plain := open(login{})
		must(t, plain.Set("k", "zero", 0))
		other := open(login{db: 3})
		wantGet(t, other, "k", "", false)
		must(t, other.Set("k", "three", 0))
		wantGet(t, plain, "k", "zero", true)
		wantGet(t, other, "k", "three", true)

		named := open(login{name: "web-1"})
		if got, err := named.Name(); err != nil || got != "web-1" {
			t.Errorf("CLIENT GETNAME = %q, %v, want web-1", got, err)
		}
	})
}

// Ensure that each library logs in with the password alone and with user "default", and
// that its user sees the error when the password is wrong or missing.
func TestGoClients_Password(t *testing.T) {
	eachGoClient(t, func(t *testing.T, open func(login) goClient) {
		for _, l := range []login{
			{password: "secret"},
			{username: "default", password: "secret"},
			{username: "default", password: "secret", db: 3, name: "web-1"},
		} {
			c := open(l)
			must(t, c.Set("k", "v", time.Minute))
			wantGet(t, c, "k", "v", true)
		}
	}, "--requirepass", "secret")
}

// Ensure that a wrong or missing password comes out of each library as the server's error.
func TestGoClients_WrongPassword(t *testing.T) {
	t.Parallel()
	s := proc.Start(t, "--requirepass", "secret")
	for _, lib := range goClients {
		t.Run(lib.name, func(t *testing.T) {
			for _, tt := range []struct {
				l    login
				want string
			}{
				{login{password: "wrong"}, "WRONGPASS"},
				{login{username: "bob", password: "secret"}, "WRONGPASS"},
				{login{}, "NOAUTH"},
			} {
				c, err := lib.open(s.Addr, tt.l)
				if err == nil {
					_, _, err = c.Get("k")
					_ = c.Close() // the error of Get is what counts
				}
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("login %+v: error %v, want %s", tt.l, err, tt.want)
				}
			}
		})
	}
}

// Ensure that values of any bytes and sizes, the empty one included, come back unchanged
// and that absence is never mistaken for a value.
func TestGoClients_Values(t *testing.T) {
	eachGoClient(t, func(t *testing.T, open func(login) goClient) {
		c := open(login{})
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		for name, value := range map[string]string{
			"empty":              "",
			"zeros in front":     "00123",
			"line ends":          "a\r\nb\r\n+OK\r\n$-1\r\n",
			"looks like nil":     "<nil>",
			"every byte":         string(all),
			"one megabyte":       string(bytes.Repeat(all, 4096)),
			"a\r\nkey \x00 \xff": "binary key",
		} {
			must(t, c.Set(name, value, time.Minute))
			wantGet(t, c, name, value, true)
		}
		wantGet(t, c, "absent", "", false)

		got, err := c.MGet("empty", "absent", "zeros in front", "absent")
		must(t, err)
		if len(got) != 4 || got[0] == nil || *got[0] != "" || got[1] != nil || got[2] == nil || *got[2] != "00123" || got[3] != nil {
			t.Errorf("MGET = %v, want [\"\" nil \"00123\" nil]", show(got))
		}
	})
}

// Ensure that deadlines are set, moved, read and dropped as each library expresses them.
func TestGoClients_Deadlines(t *testing.T) {
	eachGoClient(t, func(t *testing.T, open func(login) goClient) {
		c := open(login{})
		wantTTL := func(what string, want time.Duration) {
			t.Helper()
			got, err := c.TTL("k")
			if limit := want.Milliseconds(); err != nil || got > limit || got < limit-10_000 {
				t.Errorf("after %s: TTL = %d ms, %v, want just under %d", what, got, err, limit)
			}
		}
		must(t, c.Set("k", "v", time.Minute))
		wantTTL("SET EX", time.Minute)
		must(t, c.Set("k", "v", 90500*time.Millisecond))
		wantTTL("SET PX", 90500*time.Millisecond)

		if ok, err := c.Expire("k", time.Hour); err != nil || !ok {
			t.Errorf("EXPIRE = %v, %v, want true", ok, err)
		}
		wantTTL("EXPIRE", time.Hour)
		if v, found, err := c.GetEx("k", 2*time.Hour); err != nil || !found || v != "v" {
			t.Errorf("GETEX = %q, %v, %v, want v", v, found, err)
		}
		wantTTL("GETEX", 2*time.Hour)

		must(t, c.Set("k", "v", 0))
		if got, err := c.TTL("k"); err != nil || got != -1 {
			t.Errorf("TTL after SET without deadline = %d, %v, want -1", got, err)
		}
		if n, err := c.Del("k", "absent"); err != nil || n != 1 {
			t.Errorf("DEL = %d, %v, want 1", n, err)
		}
		if got, err := c.TTL("k"); err != nil || got != -2 {
			t.Errorf("TTL after DEL = %d, %v, want -2", got, err)
		}
		if ok, err := c.Expire("k", time.Hour); err != nil || ok {
			t.Errorf("EXPIRE of an absent key = %v, %v, want false", ok, err)
		}
		if _, found, err := c.GetEx("k", time.Hour); err != nil || found {
			t.Errorf("GETEX of an absent key: found %v, %v", found, err)
		}
	})
}

// Ensure that SET NX gives a lock to exactly one of many.
func TestGoClients_SetNX(t *testing.T) {
	eachGoClient(t, func(t *testing.T, open func(login) goClient) {
		c := open(login{})
		results := make(chan bool, 8)
		var wg sync.WaitGroup
		for i := range cap(results) {
			wg.Go(func() {
				ok, err := c.SetNX("lock", strconv.Itoa(i), time.Minute)
				if err != nil {
					t.Errorf("SETNX: %v", err)
				}
				results <- ok
			})
		}
		wg.Wait()
		close(results)
		winners := 0
		for ok := range results {
			if ok {
				winners++
			}
		}
		if winners != 1 {
			t.Errorf("%d winners of SET NX, want 1", winners)
		}
	})
}

// Ensure that an iteration over SCAN meets every key that matches and no other.
func TestGoClients_Scan(t *testing.T) {
	eachGoClient(t, func(t *testing.T, open func(login) goClient) {
		c := open(login{})
		var want, values []string
		for i := range 1000 {
			want = append(want, fmt.Sprintf("sess:%03d", i))
			values = append(values, "v")
		}
		if _, err := c.Pipeline(want, values); err != nil {
			t.Fatal(err)
		}
		must(t, c.Set("other:1", "v", 0))
		got, err := c.Scan("sess:*")
		must(t, err)
		seen := map[string]bool{}
		for _, k := range got {
			seen[k] = true // SCAN may repeat a key
		}
		unique := make([]string, 0, len(seen))
		for k := range seen {
			unique = append(unique, k)
		}
		sort.Strings(unique)
		if strings.Join(unique, " ") != strings.Join(want, " ") {
			t.Errorf("SCAN MATCH sess:* met %d keys, want %d", len(unique), len(want))
		}
	})
}

// Ensure that a pipeline's replies stand in the order of its commands.
func TestGoClients_Pipeline(t *testing.T) {
	eachGoClient(t, func(t *testing.T, open func(login) goClient) {
		c := open(login{})
		var keys, values []string
		for i := range 500 {
			keys = append(keys, fmt.Sprintf("k%d", i))
			values = append(values, strings.Repeat(strconv.Itoa(i), i))
		}
		got, err := c.Pipeline(keys, values)
		must(t, err)
		for i := range values {
			if i >= len(got) || got[i] != values[i] {
				t.Fatalf("pipeline returned %d values; the one of %s is wrong", len(got), keys[i])
			}
		}
	})
}

// Ensure that MULTI and EXEC work as each library frames them.
func TestGoClients_Transaction(t *testing.T) {
	eachGoClient(t, func(t *testing.T, open func(login) goClient) {
		c := open(login{})
		for want := int64(1); want <= 3; want++ {
			value := fmt.Sprintf("v%d", want)
			if n, err := c.Transaction("k", value, "n"); err != nil || n != want {
				t.Errorf("transaction = %d, %v, want %d", n, err, want)
			}
			wantGet(t, c, "k", value, true)
		}
	})
}

// Ensure that a counter kept by WATCH is exact after several goroutines fought for it.
func TestGoClients_OptimisticLock(t *testing.T) {
	eachGoClient(t, func(t *testing.T, open func(login) goClient) {
		const workers, each = 6, 25
		var wg sync.WaitGroup
		for range workers {
			c := open(login{})
			wg.Go(func() {
				for done := 0; done < each; {
					ok, err := c.Increment("n")
					if err != nil {
						t.Errorf("increment: %v", err)
						return
					}
					if ok {
						done++
					}
				}
			})
		}
		wg.Wait()
		wantGet(t, open(login{}), "n", strconv.Itoa(workers*each), true)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantGet(t *testing.T, c goClient, key, want string, wantFound bool) {
	t.Helper()
	got, found, err := c.Get(key)
	if err != nil || found != wantFound || got != want {
		t.Errorf("GET %q = %s, found %v, %v, want %s, found %v", key, short(got), found, err, short(want), wantFound)
	}
}

// short quotes s for a message.
func short(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%q... (%d bytes)", s[:80], len(s))
	}
	return strconv.Quote(s)
}

func show(values []*string) []string {
	var out []string
	for _, v := range values {
		if v == nil {
			out = append(out, "nil")
		} else {
			out = append(out, short(*v))
		}
	}
	return out
}

// patient is the context of one call.
func patient() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), proc.Patience)
}
