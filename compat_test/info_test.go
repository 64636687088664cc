package compat_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// infoNumbers returns fields of INFO as numbers, and fails the test if one is not there.
func infoNumbers(t *testing.T, c *proc.Conn, fields ...string) []int64 {
	t.Helper()
	_, text, _ := strings.Cut(c.Do("INFO"), "\r\n")
	all := map[string]string{}
	for line := range strings.SplitSeq(text, "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			all[name] = value
		}
	}
	numbers := make([]int64, len(fields))
	for i, name := range fields {
		n, err := strconv.ParseFloat(all[name], 64)
		if err != nil {
			t.Fatalf("INFO %s = %q, want a number", name, all[name])
		}
		numbers[i] = int64(n)
	}
	return numbers
}

// lookupLines are commands on the keys s, a string, and n, a number. There is no key none. One
// with nothing behind its last comma has an empty last argument.
var lookupLines = strings.Fields(`
	get,s get,none set,s,v set,none,v set,s,v,nx set,none,v,nx set,s,v,xx set,none,v,xx set,s,v,get set,none,v,get
	set,s,v,keepttl set,s,v,get,ex,0 setex,s,10,v setex,s,0,v psetex,none,1000,v setnx,s,v setnx,none,v
	getset,s,v getset,none,v getdel,s getdel,none getex,s getex,none getex,s,ex,10 getex,s,px,abc getex,s,ex,0
	getex,none,px,-1 mget,s,none,s mset,s,v,none,v msetnx,s,v,none,v msetnx,none,v,other,v append,s,x append,none,x
	strlen,s strlen,none getrange,s,0,1 getrange,none,0,1 getrange,s,a,b getrange,s,5,1 substr,s,0,1 substr,none,0,1
	setrange,s,1,x setrange,none,1,x setrange,s,1, setrange,none,1, incr,n incr,none incr,s incrby,n,2 incrby,s,x
	decr,n decrby,none,2 incrbyfloat,n,1.5 incrbyfloat,none,1 del,s,none unlink,s,none exists,s,none,s touch,s,none
	type,s type,none expire,s,100 expire,none,100 expire,s,-1 pexpire,s,100000 expireat,none,99999999999
	pexpireat,s,99999999999999 ttl,s ttl,none pttl,s pttl,none expiretime,s expiretime,none pexpiretime,s
	pexpiretime,none persist,s persist,none keys,* scan,0 scan,0,type,string scan,0,type,hash scan,0,match,s,type,string
	randomkey rename,s,t rename,none,t rename,s,s rename,none,none renamenx,s,t renamenx,s,n renamenx,none,t
	copy,s,t copy,none,t copy,s,n copy,s,n,replace copy,none,n copy,s,s copy,s,t,db,1 move,s,1 move,none,1
	object,encoding,s object,encoding,none object,refcount,s object,refcount,none object,idletime,s
	object,idletime,none object,freq,s object,freq,none memory,usage,s memory,usage,none
	dbsize watch,s,none get get,s,s nosuch flushdb flushall swapdb,0,1 ping info,stats config,get,maxclients`)

// countLookups runs one line and returns what it added to INFO.
func countLookups(t *testing.T, c *proc.Conn, args []string, multi bool) string {
	t.Helper()
	fields := []string{"keyspace_hits", "keyspace_misses", "total_commands_processed", "total_error_replies"}
	for _, line := range [][]string{{"FLUSHALL"}, {"SET", "s", "abc"}, {"SET", "n", "5"}} {
		c.Do(line...)
	}
	before := infoNumbers(t, c, fields...)
	if multi {
		c.Do("MULTI")
	}
	c.Do(args...)
	if multi {
		c.Do("EXEC")
	}
	after := infoNumbers(t, c, fields...)
	c.Do("UNWATCH")
	for i := range after {
		after[i] -= before[i]
	}
	return fmt.Sprintf("%d hits, %d misses, %d commands, %d errors", after[0], after[1], after[2], after[3])
}

// Ensure that every command counts as Redis counts it: as a hit, a miss or neither, alone and
// in a transaction.
func TestInfo_LookupsAsRedis(t *testing.T) {
	t.Parallel()
	oracle, subject := proc.StartRedis(t).Dial(), proc.Start(t).Dial()
	covered := map[string]bool{}
	for _, line := range lookupLines {
		args := strings.Split(line, ",")
		covered[args[0]] = true
		for _, multi := range []bool{false, true} {
			want, got := countLookups(t, oracle, args, multi), countLookups(t, subject, args, multi)
			if got != want {
				t.Errorf("%q (in MULTI: %v) adds %s to INFO, Redis %s", args, multi, got, want)
			}
		}
	}
	for name := range strings.SplitSeq(subject.Do("COMMAND", "LIST"), "\r\n") {
		if name == "" || strings.ContainsAny(name[:1], "*$") || covered[name] {
			continue
		}
		info := subject.Do("COMMAND", "INFO", name)
		if strings.Contains(info, "+readonly\r\n") || strings.Contains(info, "+write\r\n") {
			t.Errorf("the command %s is not among the lines of this test", name)
		}
	}
}

// Ensure that INFO tells what a start after kill -9 made again: the changes of the life before that
// were in the log only, and none after a stop.
func TestInfo_Recovered(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	s := proc.Start(t, "--log-size", "1mb")
	const changes = 20
	for i := range changes {
		s.Do("SET", fmt.Sprint(i), "value")
	}
	pending := infoNumbers(t, s.Dial(), "sessiond_log_pending_bytes")[0]
	if pending < changes*int64(len("value")) {
		t.Errorf("%d bytes of the log are pending after %d changes", pending, changes)
	}
	for _, tt := range []struct {
		end  func()
		want []int64
	}{{s.Kill, []int64{1 << 20, pending, changes}}, {s.Stop, []int64{1 << 20, 0, 0}}} {
		tt.end()
		s.Restart()
		got := infoNumbers(t, s.Dial(), "sessiond_log_size_bytes", "sessiond_log_pending_bytes", "sessiond_recovered_changes")
		if !slices.Equal(got, tt.want) {
			t.Errorf("size and pending bytes of the log, and changes made again: %v, want %v", got, tt.want)
		}
	}
}

// Ensure that what dashboards read is there, as a number under the name Redis has for it.
func TestInfo_FieldsOfRedis(t *testing.T) {
	t.Parallel()
	for _, s := range []*proc.Server{proc.StartRedis(t), proc.Start(t)} {
		infoNumbers(t, s.Dial(),
			"uptime_in_seconds", "uptime_in_days", "tcp_port", "connected_clients", "blocked_clients", "maxclients",
			"used_memory", "used_memory_rss", "used_memory_peak", "maxmemory",
			"total_connections_received", "total_commands_processed", "instantaneous_ops_per_sec",
			"total_net_input_bytes", "total_net_output_bytes", "instantaneous_input_kbps", "instantaneous_output_kbps",
			"rejected_connections", "expired_keys", "evicted_keys", "keyspace_hits", "keyspace_misses",
			"total_error_replies", "used_cpu_sys", "used_cpu_user")
	}
}

// Ensure that used_memory is what the process uses: no more than is in memory, and most of
// that.
func TestInfo_UsedMemoryFitsResident(t *testing.T) {
	t.Parallel()
	c := proc.Start(t).Dial()
	value := strings.Repeat("v", 1000)
	for i := range 500 {
		c.Do("SET", fmt.Sprint("key", i), value)
	}
	n := infoNumbers(t, c, "used_memory", "used_memory_rss", "used_memory_peak")
	used, resident, peak := n[0], n[1], n[2]
	if used > resident || used < resident/10 || peak < used {
		t.Errorf("INFO: used_memory is %d, used_memory_rss %d, used_memory_peak %d", used, resident, peak)
	}
}

// Ensure that the bytes that go over the connection are counted, and per second.
func TestInfo_Traffic(t *testing.T) {
	t.Parallel()
	for _, s := range []*proc.Server{proc.StartRedis(t), proc.Start(t)} {
		c := s.Dial()
		fields := []string{"total_net_input_bytes", "total_net_output_bytes", "instantaneous_ops_per_sec",
			"instantaneous_input_kbps", "instantaneous_output_kbps"}
		info := int64(len(proc.Command("INFO")))
		c.Do("SET", "k", strings.Repeat("v", 5000))
		before := infoNumbers(t, c, fields...)
		const n = 100
		get := int64(len(proc.Command("GET", "k")))
		reply := 0
		for range n {
			reply += len(c.Do("GET", "k"))
		}
		after := infoNumbers(t, c, fields...)
		if got := after[0] - before[0]; got != n*get+info {
			t.Errorf("%d GETs and an INFO add %d to total_net_input_bytes, want %d", n, got, n*get+info)
		}
		if got := after[1] - before[1]; got < int64(reply) {
			t.Errorf("replies of %d bytes add %d to total_net_output_bytes", reply, got)
		}
		for deadline := time.Now().Add(proc.Patience); after[2] == 0 || after[3] == 0 || after[4] == 0; {
			if time.Now().After(deadline) {
				t.Fatalf("INFO tells no traffic per second: %v of %v", after, fields)
			}
			for range n {
				c.Do("GET", "k")
			}
			after = infoNumbers(t, c, fields...)
		}
	}
}

// Ensure that a key whose time is over counts once in expired_keys, whether it is swept, set
// again or deleted, and that the count begins anew with the process.
func TestInfo_ExpiredKeys(t *testing.T) {
	t.Parallel()
	for _, s := range []*proc.Server{proc.StartRedis(t), proc.Start(t)} {
		c := s.Dial()
		for _, key := range []string{"swept", "set", "deleted"} {
			c.Do("PSETEX", key, "1", "v")
		}
		for deadline := time.Now().Add(proc.Patience); c.Do("EXISTS", "set", "deleted") != ":0\r\n"; {
			if time.Now().After(deadline) {
				t.Fatal("keys of one millisecond live for ever")
			}
		}
		c.Do("SET", "set", "v")
		c.Do("DEL", "deleted")
		c.Do("SET", "other", "v", "EX", "100")
		c.Do("DEL", "other")
		for deadline := time.Now().Add(proc.Patience); ; {
			got := infoNumbers(t, c, "expired_keys")[0]
			if got == 3 {
				break
			}
			if got > 3 || time.Now().After(deadline) {
				t.Fatalf("expired_keys = %d after three keys expired", got)
			}
		}
		c.Do("CONFIG", "RESETSTAT")
		if got := infoNumbers(t, c, "expired_keys", "keyspace_misses"); got[0] != 0 || got[1] != 0 {
			t.Errorf("expired_keys and keyspace_misses = %d after CONFIG RESETSTAT", got)
		}
	}
}
