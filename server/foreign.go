package server

import (
	"slices"
	"strings"

	"github.com/sessiond/sessiond/server/resp"
)

// foreignCommands returns the commands of Redis 7.0 that are not served here. COMMAND GETKEYS knows
// them, because a proxy may ask for the keys of a line that it sends to another server.
func foreignCommands() []*command {
	var list []*command
	for _, row := range foreignRows() {
		for _, name := range strings.Fields(row.names) {
			list = append(list, &command{name: name, arity: row.arity, find: row.find})
		}
	}
	for _, name := range strings.Fields(foreignWithoutKeys) {
		list = append(list, &command{name: name})
	}
	return list
}

// addForeign adds foreign commands to the table, and to each container its subcommands.
func (t *table) addForeign(list []*command) {
	for _, cmd := range list {
		t.foreign[cmd.name] = cmd
	}
	for _, cmd := range list {
		container, _, ok := strings.Cut(cmd.name, "|")
		if c := t.foreign[container]; ok && c != nil {
			c.subs = append(c.subs, *cmd)
		}
	}
}

// foreignRow describes commands that have the same arity and the same keys. A subcommand is named
// "xgroup|create".
type foreignRow struct {
	arity int
	names string
	find  keyFinder
}

func foreignRows() []foreignRow {
	return []foreignRow{
		{-2, "bitfield", bitfieldKeys},
		{-5, "georadiusbymember", keys(one(1, "RO access"), after(5, "STORE", "OW update"), after(5, "STOREDIST", "OW update"))},
		{-6, "georadius", keys(one(1, "RO access"), after(6, "STORE", "OW update"), after(6, "STOREDIST", "OW update"))},
		{-4, "restore restore-asking", keys(one(1, "OW update"))},
		{-5, "zrangestore", keys(one(1, "OW update"), one(2, "RO access"))},
		{-8, "geosearchstore", keys(one(1, "OW update"), one(2, "RO access"))},
		{-4, "zdiffstore zinterstore zunionstore", keys(one(1, "OW update"), counted(2, "RO access"))},
		{-3, "sdiffstore sunionstore", keys(one(1, "OW update"), between(2, -1, "RO access"))},
		{4, "lrange zcount zlexcount", keys(one(1, "RO access"))},
		{3, "getbit hget lindex zrank zrevrank zscore", keys(one(1, "RO access"))},
		{2, "dump hgetall hkeys hvals smembers", keys(one(1, "RO access"))},
		{-2, "bitcount bitfield_ro geohash geopos hrandfield sort_ro srandmember zrandmember", keys(one(1, "RO access"))},
		{-3, "bitpos hmget hscan lpos smismember sscan xpending zmscore zscan", keys(one(1, "RO access"))},
		{-4, "geodist xrange xrevrange zrange zrangebylex zrangebyscore zrevrange zrevrangebylex zrevrangebyscore", keys(one(1, "RO access"))},
		{-5, "georadiusbymember_ro", keys(one(1, "RO access"))},
		{-6, "georadius_ro", keys(one(1, "RO access"))},
		{-7, "geosearch", keys(one(1, "RO access"))},
		{3, "hexists hstrlen sismember", keys(one(1, "RO"))},
		{2, "hlen llen scard xlen zcard", keys(one(1, "RO"))},
		{-2, "lpop rpop spop zpopmax zpopmin", keys(one(1, "RW access delete"))},
		{6, "blmove", keys(one(1, "RW access delete"), one(2, "RW insert"))},
		{5, "lmove", keys(one(1, "RW access delete"), one(2, "RW insert"))},
		{4, "brpoplpush smove", keys(one(1, "RW access delete"), one(2, "RW insert"))},
		{3, "rpoplpush", keys(one(1, "RW access delete"), one(2, "RW insert"))},
		{-2, "pfmerge", keys(one(1, "RW access insert"), between(2, -1, "RO access"))},
		{4, "hincrby hincrbyfloat setbit zincrby", keys(one(1, "RW access update"))},
		{4, "lrem ltrim zremrangebylex zremrangebyrank zremrangebyscore", keys(one(1, "RW delete"))},
		{-3, "hdel srem xdel zrem", keys(one(1, "RW delete"))},
		{-4, "xtrim", keys(one(1, "RW delete"))},
		{-6, "xautoclaim", keys(one(1, "RW delete"))},
		{5, "linsert", keys(one(1, "RW insert"))},
		{4, "hsetnx", keys(one(1, "RW insert"))},
		{-2, "pfadd", keys(one(1, "RW insert"))},
		{-3, "lpush lpushx rpush rpushx sadd", keys(one(1, "RW insert"))},
		{4, "lset", keys(one(1, "RW update"))},
		{-3, "xsetid", keys(one(1, "RW update"))},
		{-4, "hmset hset xack zadd", keys(one(1, "RW update"))},
		{-5, "geoadd xadd", keys(one(1, "RW update"))},
		{-6, "xclaim", keys(one(1, "RW update"))},
		{-3, "sinterstore", keys(one(1, "RW update"), between(2, -1, "RO access"))},
		{-4, "bitop", keys(one(2, "OW update"), between(3, -1, "RO access"))},
		{4, "xinfo|consumers", keys(one(2, "RO access"))},
		{3, "xinfo|groups", keys(one(2, "RO access"))},
		{-3, "xinfo|stream", keys(one(2, "RO access"))},
		{3, "pfdebug", keys(one(2, "RW access"))},
		{5, "xgroup|delconsumer", keys(one(2, "RW delete"))},
		{4, "xgroup|destroy", keys(one(2, "RW delete"))},
		{5, "xgroup|createconsumer", keys(one(2, "RW insert"))},
		{-5, "xgroup|create", keys(one(2, "RW insert"))},
		{-5, "xgroup|setid", keys(one(2, "RW update"))},
		{-3, "sintercard zdiff zinter zintercard zunion", keys(counted(1, "RO access"))},
		{-4, "lmpop zmpop", keys(counted(1, "RW access delete"))},
		{-5, "blmpop bzmpop", keys(counted(2, "RW access delete"))},
		{-4, "xread", keys(halfAfter(1, "STREAMS", "RO access"))},
		{-7, "xreadgroup", keys(halfAfter(4, "STREAMS", "RO access"))},
		{-2, "sdiff sinter sunion", keys(between(1, -1, "RO access"))},
		{-2, "pfcount", keys(between(1, -1, "RW access"))},
		{-3, "blpop brpop bzpopmax bzpopmin", keys(between(1, -2, "RW access delete"))},
		{-3, "lcs", keys(between(1, 2, "RO access"))},
		{-6, "migrate", migrateKeys},
		{-3, "eval_ro evalsha_ro fcall_ro", optional(keys(counted(2, "RO access")))},
		{-3, "eval evalsha fcall", optional(keys(counted(2, "RW access update")))},
		{-2, "sort", sortKeys},
	}
}

const foreignWithoutKeys = `
bgrewriteaof client|caching client|getredir client|tracking client|trackinginfo cluster|addslots
cluster|addslotsrange cluster|bumpepoch cluster|count-failure-reports cluster|countkeysinslot cluster|delslots
cluster|delslotsrange cluster|failover cluster|flushslots cluster|forget cluster|getkeysinslot cluster|links
cluster|meet cluster|replicas cluster|replicate cluster|reset cluster|saveconfig cluster|set-config-epoch
cluster|setslot cluster|slaves failover function function|delete function|dump function|flush function|help
function|kill function|list function|load function|restore function|stats latency latency|doctor latency|graph
latency|help latency|histogram latency|history latency|latest latency|reset lolwut memory|doctor
memory|malloc-stats memory|purge memory|stats module module|help module|list module|load module|loadex
module|unload monitor pfselftest psubscribe psync publish pubsub pubsub|channels pubsub|help pubsub|numpat
pubsub|numsub pubsub|shardchannels pubsub|shardnumsub punsubscribe replconf replicaof script script|debug
script|exists script|flush script|help script|kill script|load slaveof slowlog slowlog|get slowlog|help
slowlog|len slowlog|reset spublish ssubscribe subscribe sunsubscribe sync unsubscribe wait xgroup xgroup|help
xinfo xinfo|help
`

// one is the range of the single key at i.
func one(i int, access string) keyRange { return between(i, i, access) }

// between is the range of keys from first to last. A negative last counts from the end.
func between(first, last int, access string) keyRange {
	return rangeOf(keyUse{access, keySpec{first, last, 1}})
}

// counted is the range of keys that follow their number, which is argument i.
func counted(i int, access string) keyRange {
	return func(args [][]byte) (first, last, step int, _ string) {
		if i >= len(args) {
			return -1, 0, 1, access
		}
		n, ok := resp.ParseInt(args[i])
		if !ok || n < 1 || n >= int64(len(args)) {
			return -1, 0, 1, access
		}
		return i + 1, i + int(n), 1, access
	}
}

// after is the range of the single key that follows word. It looks for word, given in upper case,
// from argument from on; a word at the end of the line does not count.
func after(from int, word, access string) keyRange {
	return func(args [][]byte) (first, last, step int, _ string) {
		for i := from; i+1 < len(args); i++ {
			if equalFold(args[i], word) {
				return i + 1, i + 1, 1, access
			}
		}
		return 0, 0, 1, access
	}
}

// halfAfter is the range of the keys that follow a word, as in after: the first half of the
// arguments behind it.
func halfAfter(from int, word, access string) keyRange {
	key := after(from, word, access)
	return func(args [][]byte) (first, last, step int, _ string) {
		first, _, step, _ = key(args)
		return first, first - 1 + (len(args)-first)/2, step, access
	}
}

// optional returns no keys where find says that the line is wrong: Redis lets a script have none.
func optional(find keyFinder) keyFinder {
	return func(args [][]byte) []foundKey {
		if found := find(args); found != nil {
			return found
		}
		return []foundKey{}
	}
}

// sortKeys is the finder of SORT. As in Redis the last STORE counts.
func sortKeys(args [][]byte) []foundKey {
	found := []foundKey{{1, "RO access"}}
	for i := 2; i < len(args); i++ {
		switch {
		case equalFold(args[i], "LIMIT"):
			i += 2
		case equalFold(args[i], "GET"), equalFold(args[i], "BY"):
			i++
		case equalFold(args[i], "STORE") && i+1 < len(args):
			found = append(found[:1], foundKey{i + 1, "OW update"})
		}
	}
	return found
}

// migrateKeys is the finder of MIGRATE, which names one key, or an empty one and keys behind KEYS.
// As in Redis, KEYS at the end of the line counts only if the word occurs before that, too.
func migrateKeys(args [][]byte) []foundKey {
	const access = "RW access delete"
	isKeys := func(arg []byte) bool { return equalFold(arg, "KEYS") }
	if !slices.ContainsFunc(args[2:len(args)-1], isKeys) {
		return []foundKey{{3, access}}
	}
	for i := 6; i < len(args); i++ {
		switch {
		case equalFold(args[i], "AUTH"):
			i++
		case equalFold(args[i], "AUTH2"):
			i += 2
		case isKeys(args[i]) && len(args[3]) > 0:
			return nil
		case isKeys(args[i]):
			return keys(between(i+1, -1, access))(args)
		}
	}
	return []foundKey{{3, access}}
}

// bitfieldKeys is the finder of BITFIELD, which only reads if GET is its only operation.
func bitfieldKeys(args [][]byte) []foundKey {
	for i := 2; i < len(args); {
		left := len(args) - i - 1
		switch {
		case equalFold(args[i], "GET") && left >= 2:
			i += 3
		case equalFold(args[i], "OVERFLOW") && left >= 1:
			i += 2
		default:
			return []foundKey{{1, "RW access update"}}
		}
	}
	return []foundKey{{1, "RO access"}}
}
