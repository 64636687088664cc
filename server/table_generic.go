package server

import "slices"

// genericCommands returns the rows of the group generic.
func genericCommands() []command {
	return slices.Concat(
		keyCommands(),
		expiryCommands(),
		deadlineCommands(),
		iterationCommands(),
		renamingCommands(),
		[]command{objectCommand()},
	)
}

// keyCommands returns the rows that delete keys or look at them.
func keyCommands() []command {
	return []command{
		{
			name: "del", arity: -2, flags: write, keys: keySpec{1, -1, 1},
			access: "RM delete",
			tips:   []string{"request_policy:multi_shard", "response_policy:agg_sum"},
			group:  groupGeneric, since: "1.0.0",
			syntax:  "key [key ...]",
			summary: "Deletes keys.",
			run:     runDel,
		},
		{
			name: "unlink", arity: -2, flags: write | fast, keys: keySpec{1, -1, 1},
			access: "RM delete",
			tips:   []string{"request_policy:multi_shard", "response_policy:agg_sum"},
			group:  groupGeneric, since: "4.0.0",
			syntax:  "key [key ...]",
			summary: "Deletes keys; the same as DEL here.",
			run:     runDel,
		},
		{
			name: "exists", arity: -2, flags: readonly | fast, keys: keySpec{1, -1, 1},
			access: "RO",
			tips:   []string{"request_policy:multi_shard", "response_policy:agg_sum"},
			group:  groupGeneric, since: "1.0.0",
			syntax:  "key [key ...]",
			summary: "Counts how many of the keys exist.",
			run:     runExists,
		},
		{
			name: "touch", arity: -2, flags: readonly | fast, keys: keySpec{1, -1, 1},
			access: "RO",
			tips:   []string{"request_policy:multi_shard", "response_policy:agg_sum"},
			group:  groupGeneric, since: "3.2.1",
			syntax:  "key [key ...]",
			summary: "Counts how many of the keys exist.",
			run:     runExists,
		},
		{
			name: "type", arity: 2, flags: readonly | fast, keys: keySpec{1, 1, 1},
			access: "RO",
			group:  groupGeneric, since: "1.0.0",
			syntax:  "key",
			summary: "Returns the kind of value a key holds.",
			run:     runType,
		},
	}
}

// expiryCommands returns the rows that set a deadline.
func expiryCommands() []command {
	return []command{
		{
			name: "expire", arity: -3, flags: write | fast, keys: keySpec{1, 1, 1},
			access: "RW update",
			group:  groupGeneric, since: "1.0.0",
			syntax:  "key seconds [NX | XX | GT | LT]",
			summary: "Sets the deadline of a key, in seconds from now.",
			run:     runExpire,
		},
		{
			name: "pexpire", arity: -3, flags: write | fast, keys: keySpec{1, 1, 1},
			access: "RW update",
			group:  groupGeneric, since: "2.6.0",
			syntax:  "key milliseconds [NX | XX | GT | LT]",
			summary: "Sets the deadline of a key, in milliseconds from now.",
			run:     runPExpire,
		},
		{
			name: "expireat", arity: -3, flags: write | fast, keys: keySpec{1, 1, 1},
			access: "RW update",
			group:  groupGeneric, since: "1.2.0",
			syntax:  "key unix-time-seconds [NX | XX | GT | LT]",
			summary: "Sets the deadline of a key, as Unix time in seconds.",
			run:     runExpireAt,
		},
		{
			name: "pexpireat", arity: -3, flags: write | fast, keys: keySpec{1, 1, 1},
			access: "RW update",
			group:  groupGeneric, since: "2.6.0",
			syntax:  "key unix-time-milliseconds [NX | XX | GT | LT]",
			summary: "Sets the deadline of a key, as Unix time in milliseconds.",
			run:     runPExpireAt,
		},
	}
}

// deadlineCommands returns the rows that read or remove a deadline.
func deadlineCommands() []command {
	return []command{
		{
			name: "ttl", arity: 2, flags: readonly | fast, keys: keySpec{1, 1, 1},
			access: "RO access",
			tips:   []string{"nondeterministic_output"},
			group:  groupGeneric, since: "1.0.0",
			syntax:  "key",
			summary: "Returns the seconds until the deadline of a key.",
			run:     runTTL,
		},
		{
			name: "pttl", arity: 2, flags: readonly | fast, keys: keySpec{1, 1, 1},
			access: "RO access",
			tips:   []string{"nondeterministic_output"},
			group:  groupGeneric, since: "2.6.0",
			syntax:  "key",
			summary: "Returns the milliseconds until the deadline of a key.",
			run:     runPTTL,
		},
		{
			name: "expiretime", arity: 2, flags: readonly | fast, keys: keySpec{1, 1, 1},
			access: "RO access",
			group:  groupGeneric, since: "7.0.0",
			syntax:  "key",
			summary: "Returns the deadline of a key as Unix time in seconds.",
			run:     runExpireTime,
		},
		{
			name: "pexpiretime", arity: 2, flags: readonly | fast, keys: keySpec{1, 1, 1},
			access: "RO access",
			group:  groupGeneric, since: "7.0.0",
			syntax:  "key",
			summary: "Returns the deadline of a key as Unix time in milliseconds.",
			run:     runPExpireTime,
		},
		{
			name: "persist", arity: 2, flags: write | fast, keys: keySpec{1, 1, 1},
			access: "RW update",
			group:  groupGeneric, since: "2.2.0",
			syntax:  "key",
			summary: "Removes the deadline of a key.",
			run:     runPersist,
		},
	}
}

// iterationCommands returns the rows that find keys.
func iterationCommands() []command {
	return []command{
		{
			name: "keys", arity: 2, flags: readonly,
			tips:  []string{"request_policy:all_shards", "nondeterministic_output_order"},
			group: groupGeneric, since: "1.0.0", acl: "dangerous",
			syntax:  "pattern",
			summary: "Returns all keys that match a pattern.",
			run:     runKeys,
		},
		{
			name: "scan", arity: -2, flags: readonly,
			tips:  []string{"nondeterministic_output", "request_policy:special"},
			group: groupGeneric, since: "2.8.0",
			syntax:  "cursor [MATCH pattern] [COUNT count] [TYPE type]",
			summary: "Returns the keys of the database page by page.",
			run:     runScan,
		},
		{
			name: "randomkey", arity: 1, flags: readonly,
			tips:  []string{"request_policy:all_shards", "nondeterministic_output"},
			group: groupGeneric, since: "1.0.0",
			summary: "Returns some key of the database.",
			run:     runRandomKey,
		},
	}
}

// renamingCommands returns the rows that rename, copy or move a key.
func renamingCommands() []command {
	return []command{
		{
			name: "rename", arity: 3, flags: write, keys: keySpec{1, 2, 1},
			access: "RW access delete; OW update",
			group:  groupGeneric, since: "1.0.0",
			syntax:  "key newkey",
			summary: "Gives a key another name, in place of whatever had it.",
			run:     runRename,
		},
		{
			name: "renamenx", arity: 3, flags: write | fast, keys: keySpec{1, 2, 1},
			access: "RW access delete; OW insert",
			group:  groupGeneric, since: "1.0.0",
			syntax:  "key newkey",
			summary: "Gives a key another name if nothing has that name.",
			run:     runRenameNX,
		},
		{
			name: "copy", arity: -3, flags: write | denyOOM, keys: keySpec{1, 2, 1},
			access: "RO access; OW update",
			group:  groupGeneric, since: "6.2.0",
			syntax:  "source destination [DB destination-db] [REPLACE]",
			summary: "Copies a key, value and deadline, also to another database.",
			run:     runCopy,
			scope:   copyScope,
		},
		{
			name: "move", arity: 3, flags: write | fast, keys: keySpec{1, 1, 1},
			access: "RW access update",
			group:  groupGeneric, since: "1.0.0",
			syntax:  "key db",
			summary: "Moves a key to another database.",
			run:     runMove,
			scope:   moveScope,
		},
	}
}

// objectCommand returns the row of OBJECT.
func objectCommand() command {
	return command{
		name: "object", arity: -2, flags: 0,
		group: groupGeneric, since: "2.2.3",
		summary: "Commands about how a key is stored.",
		subs: []command{
			{
				name: "encoding", arity: 3, flags: readonly, keys: keySpec{2, 2, 1},
				access: "RO",
				tips:   []string{"nondeterministic_output"},
				group:  groupGeneric, since: "2.2.3",
				syntax:  "key",
				summary: "Returns the encoding Redis would use for the value.",
				run:     runObjectEncoding,
			},
			{
				name: "refcount", arity: 3, flags: readonly, keys: keySpec{2, 2, 1},
				access: "RO",
				tips:   []string{"nondeterministic_output"},
				group:  groupGeneric, since: "2.2.3",
				syntax:  "key",
				summary: "Returns how often the value is referenced: always once.",
				run:     runObjectRefCount,
			},
			{
				name: "idletime", arity: 3, flags: readonly, keys: keySpec{2, 2, 1},
				access: "RO",
				tips:   []string{"nondeterministic_output"},
				group:  groupGeneric, since: "2.2.3",
				syntax:  "key",
				summary: "Returns the seconds since the key was used; not tracked, always 0.",
				run:     runObjectIdleTime,
			},
			{
				name: "freq", arity: 3, flags: readonly, keys: keySpec{2, 2, 1},
				access: "RO",
				tips:   []string{"nondeterministic_output"},
				group:  groupGeneric, since: "4.0.0",
				syntax:  "key",
				summary: "Answers with the error Redis gives when access frequency is not tracked.",
				run:     runObjectFreq,
			},
			{
				name: "help", arity: 2, flags: loading | stale,
				group: groupGeneric, since: "6.2.0",
				summary: "Lists the subcommands of OBJECT.",
				run:     runHelp,
			},
		},
	}
}
