package server

import "slices"

// stringCommands returns the rows of the group string.
func stringCommands() []command {
	return slices.Concat(
		valueCommands(),
		exchangeCommands(),
		severalValueCommands(),
		rangeCommands(),
		numberCommands(),
	)
}

// valueCommands returns the rows that read or store one value.
func valueCommands() []command {
	return []command{
		{
			name: "get", arity: 2, flags: readonly | fast, keys: keySpec{1, 1, 1},
			access: "RO access",
			group:  groupString, since: "1.0.0",
			syntax:  "key",
			summary: "Returns the value of a key.",
			run:     runGet,
		},
		{
			name: "set", arity: -3, flags: write | denyOOM, keys: keySpec{1, 1, 1},
			access: "RW access update variable_flags", find: setKeys,
			group: groupString, since: "1.0.0",
			syntax:  "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
			summary: "Stores a value, with conditions and a deadline if wanted.",
			run:     runSet,
		},
		{
			name: "setex", arity: 4, flags: write | denyOOM, keys: keySpec{1, 1, 1},
			access: "OW update",
			group:  groupString, since: "2.0.0",
			syntax:  "key seconds value",
			summary: "Stores a value that lives a number of seconds.",
			run:     runSetEX,
		},
		{
			name: "psetex", arity: 4, flags: write | denyOOM, keys: keySpec{1, 1, 1},
			access: "OW update",
			group:  groupString, since: "2.6.0",
			syntax:  "key milliseconds value",
			summary: "Stores a value that lives a number of milliseconds.",
			run:     runPSetEX,
		},
		{
			name: "setnx", arity: 3, flags: write | denyOOM | fast, keys: keySpec{1, 1, 1},
			access: "OW insert",
			group:  groupString, since: "1.0.0",
			syntax:  "key value",
			summary: "Stores a value if the key does not exist.",
			run:     runSetNX,
		},
	}
}

// exchangeCommands returns the rows that return a value and change its key.
func exchangeCommands() []command {
	return []command{
		{
			name: "getset", arity: 3, flags: write | denyOOM | fast, keys: keySpec{1, 1, 1},
			access: "RW access update",
			group:  groupString, since: "1.0.0",
			syntax:  "key value",
			summary: "Stores a value and returns the previous one.",
			run:     runGetSet,
		},
		{
			name: "getdel", arity: 2, flags: write | fast, keys: keySpec{1, 1, 1},
			access: "RW access delete",
			group:  groupString, since: "6.2.0",
			syntax:  "key",
			summary: "Returns the value of a key and deletes the key.",
			run:     runGetDel,
		},
		{
			name: "getex", arity: -2, flags: write | fast, keys: keySpec{1, 1, 1},
			access: "RW access update",
			group:  groupString, since: "6.2.0",
			syntax:  "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
			summary: "Returns the value of a key and moves or removes its deadline.",
			run:     runGetEX,
		},
	}
}

// severalValueCommands returns the rows that read or store several values.
func severalValueCommands() []command {
	return []command{
		{
			name: "mget", arity: -2, flags: readonly | fast, keys: keySpec{1, -1, 1},
			access: "RO access",
			tips:   []string{"request_policy:multi_shard"},
			group:  groupString, since: "1.0.0",
			syntax:  "key [key ...]",
			summary: "Returns the values of several keys as of one instant.",
			run:     runMGet,
		},
		{
			name: "mset", arity: -3, flags: write | denyOOM, keys: keySpec{1, -1, 2},
			access: "OW update",
			tips:   []string{"request_policy:multi_shard", "response_policy:all_succeeded"},
			group:  groupString, since: "1.0.1",
			syntax:  "key value [key value ...]",
			summary: "Stores several values at once.",
			run:     runMSet,
		},
		{
			name: "msetnx", arity: -3, flags: write | denyOOM, keys: keySpec{1, -1, 2},
			access: "OW insert",
			tips:   []string{"request_policy:multi_shard", "response_policy:agg_min"},
			group:  groupString, since: "1.0.1",
			syntax:  "key value [key value ...]",
			summary: "Stores several values at once if none of the keys exists.",
			run:     runMSetNX,
		},
	}
}

// rangeCommands returns the rows that measure, read or change part of a value.
func rangeCommands() []command {
	return []command{
		{
			name: "append", arity: 3, flags: write | denyOOM | fast, keys: keySpec{1, 1, 1},
			access: "RW insert",
			group:  groupString, since: "2.0.0",
			syntax:  "key value",
			summary: "Appends to a value, creating it if need be.",
			run:     runAppend,
		},
		{
			name: "strlen", arity: 2, flags: readonly | fast, keys: keySpec{1, 1, 1},
			access: "RO",
			group:  groupString, since: "2.2.0",
			syntax:  "key",
			summary: "Returns the length of a value in bytes.",
			run:     runStrLen,
		},
		{
			name: "getrange", arity: 4, flags: readonly, keys: keySpec{1, 1, 1},
			access: "RO access",
			group:  groupString, since: "2.4.0",
			syntax:  "key start end",
			summary: "Returns part of a value.",
			run:     runGetRange,
		},
		{
			name: "substr", arity: 4, flags: readonly, keys: keySpec{1, 1, 1},
			access: "RO access",
			group:  groupString, since: "1.0.0",
			syntax:  "key start end",
			summary: "Returns part of a value; the old name of GETRANGE.",
			run:     runGetRange,
		},
		{
			name: "setrange", arity: 4, flags: write | denyOOM, keys: keySpec{1, 1, 1},
			access: "RW update",
			group:  groupString, since: "2.2.0",
			syntax:  "key offset value",
			summary: "Overwrites part of a value, padding with zero bytes if need be.",
			run:     runSetRange,
		},
	}
}

// numberCommands returns the rows that add to a number.
func numberCommands() []command {
	return []command{
		{
			name: "incr", arity: 2, flags: write | denyOOM | fast, keys: keySpec{1, 1, 1},
			access: "RW access update",
			group:  groupString, since: "1.0.0",
			syntax:  "key",
			summary: "Adds one to an integer value.",
			run:     runIncr,
		},
		{
			name: "incrby", arity: 3, flags: write | denyOOM | fast, keys: keySpec{1, 1, 1},
			access: "RW access update",
			group:  groupString, since: "1.0.0",
			syntax:  "key increment",
			summary: "Adds a number to an integer value.",
			run:     runIncrBy,
		},
		{
			name: "decr", arity: 2, flags: write | denyOOM | fast, keys: keySpec{1, 1, 1},
			access: "RW access update",
			group:  groupString, since: "1.0.0",
			syntax:  "key",
			summary: "Subtracts one from an integer value.",
			run:     runDecr,
		},
		{
			name: "decrby", arity: 3, flags: write | denyOOM | fast, keys: keySpec{1, 1, 1},
			access: "RW access update",
			group:  groupString, since: "1.0.0",
			syntax:  "key decrement",
			summary: "Subtracts a number from an integer value.",
			run:     runDecrBy,
		},
		{
			name: "incrbyfloat", arity: 3, flags: write | denyOOM | fast | fraction, keys: keySpec{1, 1, 1},
			access: "RW access update",
			group:  groupString, since: "2.6.0",
			syntax:  "key increment",
			summary: "Adds a floating point number to a value.",
			run:     runIncrByFloat,
		},
	}
}
