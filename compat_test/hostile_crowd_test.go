package compat_test

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// crowdSize returns how many connections this process may hold: want, or fewer if its hard
// limit of open files is lower.
func crowdSize(t *testing.T, want int) int {
	t.Helper()
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if room := int(limit.Cur) - 500; room < want {
		t.Logf("%d connections instead of %d: only %d files may be open", room, want, limit.Cur)
		return room
	}
	return want
}

// Ensure that an idle connection takes at most 12 KiB, also after a large reply, and that
// ten thousand of them go as they came.
func TestHostile_Crowd(t *testing.T) {
	const each = 12 << 10
	v := startVictim(t, "--maxclients", "15000")
	if got := v.Do("SET", "large", strings.Repeat("v", 100_000)); got != "+OK\r\n" {
		t.Fatal(got)
	}
	n := crowdSize(t, 10_000)
	crowd := make([]*enemy, n)
	for i := range crowd {
		crowd[i] = v.enemy()
		if got := crowd[i].ask("PING"); got != "+PONG\r\n" {
			t.Fatalf("connection %d: PING = %q\n%s", i, got, v.Log())
		}
	}
	got := (v.usage().resident - v.rest.resident) / int64(n)
	t.Logf("%d idle connections, %d bytes each", n, got)
	if got > each {
		t.Errorf("an idle connection takes %d bytes, want at most %d", got, each)
	}
	for _, e := range crowd {
		if got := e.ask("GET", "large"); len(got) < 100_000 {
			t.Fatalf("GET = %d bytes", len(got))
		}
	}
	// The garbage of building 10000 replies is returned once the server is quiet.
	proc.Eventually(t, func() error {
		got := (v.usage().resident - v.rest.resident) / int64(n)
		if got > each+leftover/int64(n) {
			return fmt.Errorf("after a large reply an idle connection takes %d bytes", got)
		}
		return nil
	})
	v.greet()
	for i, e := range crowd {
		_ = e.say("*2\r\n$3\r\nGET\r\n$10\r\nha") // half a command
		if i%2 == 0 {
			must(t, e.Conn.(*net.TCPConn).SetLinger(0)) // a reset instead of a good-bye
		}
		_ = e.Close()
	}
	v.aftermath(300 * mib)
}

// Ensure that clients that come, talk and reset their connections leave nothing behind.
func TestHostile_ResetStorm(t *testing.T) {
	v := startVictim(t)
	var storm sync.WaitGroup
	for worker := range 8 {
		storm.Go(func() {
			for i := range 500 * hostileScale(t) {
				conn, err := net.Dial("tcp", v.Addr)
				if err != nil {
					t.Errorf("connect: %v", err)
					return
				}
				_, _ = conn.Write([]byte(strings.Repeat(proc.Command("SET", "k", strconv.Itoa(i)), 1+(worker+i)%50)))
				_ = conn.(*net.TCPConn).SetLinger(0)
				_ = conn.Close()
			}
		})
	}
	storm.Wait()
	v.aftermath(100 * mib)
}

// Ensure that strangers, however many, who send what they may and read nothing, take
// little, and that those who know the password are served meanwhile.
func TestHostile_Strangers(t *testing.T) {
	v := startVictim(t, "--requirepass", hostileSecret)
	n := crowdSize(t, 2000)
	junk := strings.Repeat(proc.Command("HELLO", "3", strings.Repeat("j", 16000)), 20)
	var crowd sync.WaitGroup
	for part := range 8 {
		crowd.Go(func() {
			for range n / 8 {
				conn, err := net.Dial("tcp", v.Addr)
				if err != nil {
					t.Errorf("connect: %v", err)
					return
				}
				t.Cleanup(func() { _ = conn.Close() })
				if tcp := conn.(*net.TCPConn); part%2 == 0 {
					_ = tcp.SetReadBuffer(4096)
				}
				_ = conn.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
				_, _ = conn.Write([]byte(junk))
			}
		})
	}
	crowd.Wait()
	v.greetSoon()
	height := v.usage().peak - v.rest.resident
	t.Logf("%d strangers who do not read take %d MiB", n, height/mib)
	if height > 150*mib {
		t.Errorf("%d strangers who do not read take %d MiB", n, height/mib)
	}
}

// Ensure that guessing passwords is slow for who guesses, for nobody else, and not logged.
func TestHostile_LoginFlood(t *testing.T) {
	v := startVictim(t, "--requirepass", hostileSecret)
	var answers atomic.Int64
	var flood sync.WaitGroup
	for range 50 {
		e := v.enemy()
		flood.Go(func() {
			_ = e.SetDeadline(time.Now().Add(3 * time.Second)) // the length of the attack
			for i := range 1000 {
				_ = e.say(proc.Command("AUTH", fmt.Sprint(hostileSecret, i)), proc.Command("GET", hostileSecret))
			}
			for {
				switch got := e.hear(); {
				case got == "":
					_ = e.Close()
					return
				case strings.HasPrefix(got, "-WRONGPASS "):
					answers.Add(1)
				case !strings.HasPrefix(got, "-NOAUTH "):
					t.Errorf("reply to a wrong password = %q", got)
				}
			}
		})
	}
	for range 20 {
		v.greet()
	}
	flood.Wait()
	if n := answers.Load(); n > 1000 {
		t.Errorf("50 clients tried %d passwords in 3 s", n)
	}
	v.aftermath(100 * mib)
}

// Ensure that a stranger who sends a byte now and then is cut when the time to log in is
// over. It takes that time, half a minute.
func TestHostile_Dribbler(t *testing.T) {
	if os.Getenv("CI") == "" && hostileScale(t) == 1 {
		t.Skip("takes half a minute: CI or SESSIOND_HOSTILE_SCALE")
	}
	t.Parallel()
	v := startVictim(t, "--requirepass", hostileSecret)
	e := v.enemy()
	begin := time.Now()
	_ = e.say("*2\r\n$4\r\nAUTH\r\n$10000\r\n")
	for e.say("x") == nil && time.Since(begin) < 40*time.Second {
		time.Sleep(50 * time.Millisecond) // the pace of the attack
	}
	if took := time.Since(begin); took < 25*time.Second || took > 35*time.Second {
		t.Errorf("a stranger was cut after %v, want about 30s", took.Round(time.Second))
	}
}

// Ensure that clients that kill each other and come back do not harm the others.
func TestHostile_KillStorm(t *testing.T) {
	v := startVictim(t)
	killer := v.enemy()
	done := make(chan struct{})
	var crowd sync.WaitGroup
	for range 50 {
		crowd.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				conn, err := net.Dial("tcp", v.Addr)
				if err != nil {
					t.Errorf("connect: %v", err)
					return
				}
				_, _ = conn.Write([]byte(strings.Repeat(proc.Command("SET", "k", "v"), 100)))
				_, _ = conn.Read(make([]byte, 1)) // a reply, or the end
				_ = conn.Close()
			}
		})
	}
	for range 300 * hostileScale(t) {
		if got := killer.ask("CLIENT", "KILL", "TYPE", "normal"); !strings.HasPrefix(got, ":") {
			t.Fatalf("CLIENT KILL = %q", got)
		}
	}
	close(done)
	crowd.Wait()
	v.aftermath(300 * mib)
}
