package server

// transactionCommands returns the rows of the group transactions.
func transactionCommands() []command {
	return []command{
		{
			name: "multi", arity: 1, flags: fast | noScript | loading | stale | allowBusy | immediate,
			group: groupTransactions, since: "1.2.0",
			summary: "Begins a transaction: commands are queued.",
			run:     runMulti,
		},
		{
			name: "exec", arity: 1, flags: noScript | loading | stale | skipSlowlog | immediate | runsQueue,
			group: groupTransactions, since: "1.2.0",
			summary: "Runs the queued commands as one.",
			run:     runExec,
		},
		{
			name: "discard", arity: 1, flags: fast | noScript | loading | stale | allowBusy | immediate,
			group: groupTransactions, since: "2.0.0",
			summary: "Forgets the queued commands and the watched keys.",
			run:     runDiscard,
		},
		{
			name: "watch", arity: -2, flags: fast | noScript | loading | stale | allowBusy | immediate, keys: keySpec{1, -1, 1},
			access: "RO",
			group:  groupTransactions, since: "2.2.0",
			syntax:  "key [key ...]",
			summary: "Makes the next EXEC depend on these keys being unchanged.",
			run:     runWatch,
		},
		{
			name: "unwatch", arity: 1, flags: fast | noScript | loading | stale | allowBusy,
			group: groupTransactions, since: "2.2.0",
			summary: "Forgets the watched keys.",
			run:     runUnwatch,
		},
	}
}
