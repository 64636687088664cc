package server

import "slices"

// connectionCommands returns the rows of the group connection.
func connectionCommands() []command {
	return slices.Concat(
		loginCommands(),
		[]command{clientCommand()},
	)
}

// loginCommands returns the rows that log in, choose a database, check or end a connection.
func loginCommands() []command {
	return []command{
		{
			name: "auth", arity: -2, flags: fast | noScript | loading | stale | noAuth | allowBusy,
			group: groupConnection, since: "1.0.0",
			syntax:  "[username] password",
			summary: "Logs the connection in.",
			run:     runAuth,
		},
		{
			name: "hello", arity: -1, flags: fast | noScript | loading | stale | noAuth | allowBusy,
			group: groupConnection, since: "6.0.0",
			syntax:  "[protover [AUTH username password] [SETNAME clientname]]",
			summary: "Chooses RESP2 or RESP3 and tells about the server; may log in and name the connection.",
			run:     runHello,
		},
		{
			name: "select", arity: 2, flags: fast | loading | stale | selects,
			group: groupConnection, since: "1.0.0",
			syntax:  "index",
			summary: "Makes another database the current one.",
			run:     runSelect,
		},
		{
			name: "ping", arity: -1, flags: fast | inSubscription,
			tips:  []string{"request_policy:all_shards", "response_policy:all_succeeded"},
			group: groupConnection, since: "1.0.0",
			syntax:  "[message]",
			summary: "Answers PONG, or the message.",
			run:     runPing,
		},
		{
			name: "echo", arity: 2, flags: fast | loading | stale,
			group: groupConnection, since: "1.0.0",
			syntax:  "message",
			summary: "Returns the message.",
			run:     runEcho,
		},
		{
			name: "quit", arity: -1, flags: fast | noScript | loading | stale | noAuth | allowBusy | immediate | inSubscription | hangsUp,
			group: groupConnection, since: "1.0.0",
			summary: "Closes the connection after an OK.",
			run:     runQuit,
		},
		{
			name: "reset", arity: 1, flags: fast | noScript | loading | stale | noAuth | allowBusy | immediate | inSubscription,
			group: groupConnection, since: "6.2.0",
			summary: "Puts the connection back into the state it had when it was opened.",
			run:     runReset,
		},
	}
}

// clientCommand returns the row of CLIENT.
func clientCommand() command {
	return command{
		name: "client", arity: -2, flags: 0,
		group: groupConnection, since: "2.4.0",
		summary: "Commands about connections.",
		subs:    slices.Concat(clientSelfCommands(), clientControlCommands()),
	}
}

// clientSelfCommands returns the subcommands of CLIENT that name and describe connections.
func clientSelfCommands() []command {
	return []command{
		{
			name: "id", arity: 2, flags: noScript | loading | stale,
			group: groupConnection, since: "5.0.0",
			summary: "Returns the number of this connection.",
			run:     runClientID,
		},
		{
			name: "setname", arity: 3, flags: noScript | loading | stale,
			group: groupConnection, since: "2.6.9",
			syntax:  "connection-name",
			summary: "Names this connection.",
			run:     runClientSetName,
		},
		{
			name: "getname", arity: 2, flags: noScript | loading | stale,
			group: groupConnection, since: "2.6.9",
			summary: "Returns the name of this connection.",
			run:     runClientGetName,
		},
		{
			name: "setinfo", arity: 4, flags: noScript | loading | stale,
			group: groupConnection, since: "7.2.0",
			syntax:  "<LIB-NAME libname | LIB-VER libver>",
			summary: "Records the name or version of the client library.",
			run:     runClientSetInfo,
		},
		{
			name: "info", arity: 2, flags: noScript | loading | stale,
			tips:  []string{"nondeterministic_output"},
			group: groupConnection, since: "6.2.0",
			summary: "Describes this connection.",
			run:     runClientInfo,
		},
		{
			name: "list", arity: -2, flags: admin | noScript | loading | stale,
			tips:  []string{"nondeterministic_output"},
			group: groupConnection, since: "2.4.0",
			syntax:  "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
			summary: "Describes the open connections.",
			run:     runClientList,
		},
	}
}

// clientControlCommands returns the subcommands of CLIENT that close, hold or tune connections.
func clientControlCommands() []command {
	return []command{
		{
			name: "kill", arity: -3, flags: admin | noScript | loading | stale,
			group: groupConnection, since: "2.4.0",
			syntax:  "<ip:port | <[ID client-id] | [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] | [USER username] | [ADDR ip:port] | [LADDR ip:port] | [SKIPME yes/no]> [<[ID client-id] | [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] | [USER username] | [ADDR ip:port] | [LADDR ip:port] | [SKIPME yes/no]> ...]>",
			summary: "Closes connections chosen by id, address, user or type.",
			run:     runClientKill,
		},
		{
			name: "unpause", arity: 2, flags: admin | noScript | loading | stale,
			group: groupConnection, since: "6.2.0",
			summary: "Lets the clients go on that CLIENT PAUSE holds.",
			run:     runClientUnpause,
		},
		{
			name: "pause", arity: -3, flags: admin | noScript | loading | stale,
			group: groupConnection, since: "2.9.50",
			syntax:  "timeout [WRITE | ALL]",
			summary: "Holds the commands of all clients, or those that write, for some milliseconds.",
			run:     runClientPause,
		},
		{
			name: "unblock", arity: -3, flags: admin | noScript | loading | stale,
			group: groupConnection, since: "5.0.0",
			syntax:  "client-id [TIMEOUT | ERROR]",
			summary: "Ends the wait of a client for data: there is none that waits.",
			run:     runClientUnblock,
		},
		{
			name: "no-evict", arity: 3, flags: admin | noScript | loading | stale,
			group: groupConnection, since: "7.0.0",
			syntax:  "<ON | OFF>",
			summary: "Accepted for compatibility: no connection is evicted to save memory.",
			run:     runClientNoEvict,
		},
		{
			name: "no-touch", arity: 3, flags: noScript | loading | stale,
			group: groupConnection, since: "7.2.0",
			syntax:  "<ON | OFF>",
			summary: "Accepted for compatibility: reads do not change access times.",
			run:     runClientNoTouch,
		},
		{
			name: "reply", arity: 3, flags: noScript | loading | stale,
			group: groupConnection, since: "3.2.0",
			syntax:  "<ON | OFF | SKIP>",
			summary: "Turns replies to this connection on or off, or skips the next one.",
			run:     runClientReply,
		},
		{
			name: "help", arity: 2, flags: loading | stale,
			group: groupConnection, since: "5.0.0",
			summary: "Lists the subcommands of CLIENT.",
			run:     runHelp,
		},
	}
}
