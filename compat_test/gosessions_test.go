package compat_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	redis9 "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// Ensure that the way scs commits works: SET and PEXPIREAT in one transaction, pipelined,
// with the deadline kept to the millisecond.
func TestGoSessions_CommitInTransaction(t *testing.T) {
	t.Parallel()
	pool := newRedigoPool(proc.Start(t).Addr, login{})
	defer pool.Close()
	conn := pool.Get()
	defer conn.Close()

	deadline := time.Now().Add(time.Hour).UnixMilli() + 7
	must(t, errors.Join(conn.Send("MULTI"), conn.Send("SET", "scs:session:a", []byte{0, 1, '\r', '\n', 255}),
		conn.Send("PEXPIREAT", "scs:session:a", deadline)))
	replies, err := redis.Values(conn.Do("EXEC"))
	if err != nil || len(replies) != 2 || replies[0] != "OK" || replies[1] != int64(1) {
		t.Errorf("EXEC = %v, %v, want [OK 1]", replies, err)
	}
	if got, err := redis.Int64(conn.Do("PEXPIRETIME", "scs:session:a")); err != nil || got != deadline {
		t.Errorf("PEXPIRETIME = %d, %v, want %d", got, err, deadline)
	}
	if got, err := redis.Bytes(conn.Do("GET", "scs:session:a")); err != nil || string(got) != "\x00\x01\r\n\xff" {
		t.Errorf("GET = %q, %v", got, err)
	}
	// All() of that store lists by KEYS.
	if got, err := redis.Strings(conn.Do("KEYS", "scs:session:*")); err != nil || len(got) != 1 || got[0] != "scs:session:a" {
		t.Errorf("KEYS = %q, %v", got, err)
	}
	if n, err := redis.Int(conn.Do("DEL", "scs:session:a")); err != nil || n != 1 {
		t.Errorf("DEL = %d, %v, want 1", n, err)
	}
	if _, err := redis.Bytes(conn.Do("GET", "scs:session:a")); !errors.Is(err, redis.ErrNil) {
		t.Errorf("GET after DEL: %v, want nil", err)
	}
}

// Ensure that a session whose deadline is in the past already is gone at once, as scs
// commits it for a session that has just ended.
func TestGoSessions_CommitInThePast(t *testing.T) {
	t.Parallel()
	pool := newRedigoPool(proc.Start(t).Addr, login{})
	defer pool.Close()
	conn := pool.Get()
	defer conn.Close()
	must(t, errors.Join(conn.Send("MULTI"), conn.Send("SET", "k", "v"), conn.Send("PEXPIREAT", "k", time.Now().Add(-time.Hour).UnixMilli())))
	replies, err := redis.Values(conn.Do("EXEC"))
	if err != nil || len(replies) != 2 || replies[0] != "OK" || replies[1] != int64(1) {
		t.Errorf("EXEC = %v, %v, want [OK 1]", replies, err)
	}
	if n, err := redis.Int(conn.Do("EXISTS", "k")); err != nil || n != 0 {
		t.Errorf("EXISTS = %d, %v, want 0", n, err)
	}
}

// Ensure that the way gorilla's redistore works: PING before each use, SETEX, GET, DEL,
// in a database of its own, behind a password.
func TestGoSessions_PingAndSetEx(t *testing.T) {
	t.Parallel()
	s := proc.Start(t, "--requirepass", "secret")
	pool := newRedigoPool(s.Addr, login{password: "secret", db: 2})
	defer pool.Close()
	once := func(command string, args ...any) (any, error) {
		conn := pool.Get() // sends PING when the connection was used before
		defer conn.Close()
		return conn.Do(command, args...)
	}
	for i := range 5 {
		id := "session_" + strconv.Itoa(i)
		if ok, err := redis.String(once("SETEX", id, 1209600, []byte{byte(i), 0})); err != nil || ok != "OK" {
			t.Fatalf("SETEX = %q, %v", ok, err)
		}
		if got, err := redis.Bytes(once("GET", id)); err != nil || string(got) != string([]byte{byte(i), 0}) {
			t.Errorf("GET = %q, %v", got, err)
		}
		if _, err := once("DEL", id); err != nil {
			t.Errorf("DEL: %v", err)
		}
		if reply, err := once("GET", id); err != nil || reply != nil {
			t.Errorf("GET after DEL = %v, %v, want nil", reply, err)
		}
	}
	if _, err := once("SETEX", "k", 0, "v"); err == nil || err.Error() != "ERR invalid expire time in 'setex' command" {
		t.Errorf("SETEX with no time: %v", err)
	}
}

// Ensure that a connection that was handed back in the middle of a transaction is clean
// when the pool lends it again.
func TestGoSessions_PoolCleansConnections(t *testing.T) {
	t.Parallel()
	pool := newRedigoPool(proc.Start(t).Addr, login{})
	pool.MaxActive, pool.MaxIdle, pool.Wait = 1, 1, true
	defer pool.Close()

	dirty := pool.Get()
	for _, command := range [][]any{{"WATCH", "k"}, {"MULTI"}, {"SET", "k", "from the abandoned transaction"}} {
		if _, err := dirty.Do(command[0].(string), command[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	must(t, dirty.Close()) // the pool sends DISCARD

	conn := pool.Get()
	defer conn.Close()
	if ok, err := redis.String(conn.Do("SET", "k", "v")); err != nil || ok != "OK" {
		t.Errorf("SET = %q, %v, want OK", ok, err)
	}
	if got, err := redis.String(conn.Do("GET", "k")); err != nil || got != "v" {
		t.Errorf("GET = %q, %v, want v", got, err)
	}
}

// Ensure that regenerating a session id by RENAME keeps value and deadline, as the
// fasthttp and beego stores rely on.
func TestGoSessions_Regenerate(t *testing.T) {
	t.Parallel()
	c := redis9.NewClient(&redis9.Options{Addr: proc.Start(t).Addr})
	defer c.Close()
	ctx, cancel := patient()
	defer cancel()
	must(t, c.Set(ctx, "old", "data", time.Hour).Err())
	before, err := c.PExpireTime(ctx, "old").Result()
	must(t, err)
	must(t, c.Rename(ctx, "old", "new").Err())
	after, err := c.PExpireTime(ctx, "new").Result()
	if err != nil || after != before {
		t.Errorf("deadline after RENAME = %v, %v, want %v", after, err, before)
	}
	if got, err := c.Get(ctx, "new").Result(); err != nil || got != "data" {
		t.Errorf("GET new = %q, %v, want data", got, err)
	}
	if n, err := c.Exists(ctx, "old").Result(); err != nil || n != 0 {
		t.Errorf("EXISTS old = %d, %v, want 0", n, err)
	}
	if err := c.Rename(ctx, "old", "new").Err(); err == nil || err.Error() != "ERR no such key" {
		t.Errorf("RENAME of an absent key: %v", err)
	}
}

// Ensure that an idle pool survives a restart of the server with one retry, and that the
// session is still there: what a store sees when sessiond is upgraded.
func TestGoSessions_SurviveRestart(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	s := proc.Start(t)
	c := redis9.NewClient(&redis9.Options{Addr: s.Addr})
	defer c.Close()
	ctx, cancel := patient()
	defer cancel()
	must(t, c.Set(ctx, "sess", "logged in", time.Hour).Err())
	s.Kill()
	s.Restart()
	if got, err := c.Get(ctx, "sess").Result(); err != nil || got != "logged in" {
		t.Errorf("GET after kill -9 and restart = %q, %v, want logged in", got, err)
	}
}

// Ensure that rueidis with its client-side cache, which needs CLIENT TRACKING, is refused
// at once with an error that names the command, instead of hanging or reading stale data.
func TestGoSessions_ClientSideCacheRefused(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{proc.Start(t).Addr}})
	if err == nil {
		c.Close()
	}
	if err == nil || !strings.Contains(strings.ToUpper(err.Error()), "TRACKING") {
		t.Errorf("rueidis with cache: %v, want an error about TRACKING", err)
	}
}
