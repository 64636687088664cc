package server

import "slices"

// serverCommands returns the rows of the group server.
func serverCommands() []command {
	return slices.Concat(
		[]command{commandCommand(), infoCommand(), configCommand(), aclCommand()},
		databaseCommands(),
		processCommands(),
		[]command{memoryCommand(), debugCommand()},
	)
}

// commandCommand returns the row of COMMAND.
func commandCommand() command {
	return command{
		name: "command", arity: -1, flags: loading | stale,
		tips:  []string{"nondeterministic_output_order"},
		group: groupServer, since: "2.8.13", acl: "connection",
		summary: "Describes all commands.",
		subs: []command{
			{
				name: "count", arity: 2, flags: loading | stale,
				group: groupServer, since: "2.8.13", acl: "connection",
				summary: "Returns the number of commands.",
				run:     runCommandCount,
			},
			{
				name: "info", arity: -2, flags: loading | stale,
				tips:  []string{"nondeterministic_output_order"},
				group: groupServer, since: "2.8.13", acl: "connection",
				syntax:  "[command-name [command-name ...]]",
				summary: "Describes the commands named, or all.",
				run:     runCommandInfo,
			},
			{
				name: "list", arity: -2, flags: loading | stale,
				tips:  []string{"nondeterministic_output_order"},
				group: groupServer, since: "7.0.0", acl: "connection",
				syntax:  "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
				summary: "Returns the names of the commands.",
				run:     runCommandList,
			},
			{
				name: "docs", arity: -2, flags: loading | stale,
				tips:  []string{"nondeterministic_output_order"},
				group: groupServer, since: "7.0.0", acl: "connection",
				syntax:  "[command-name [command-name ...]]",
				summary: "Returns the documentation of the commands named, or all.",
				run:     runCommandDocs,
			},
			{
				name: "getkeys", arity: -4, flags: loading | stale,
				group: groupServer, since: "2.8.13", acl: "connection",
				summary: "Returns the keys of a command line.",
				run:     runCommandGetKeys,
			},
			{
				name: "getkeysandflags", arity: -4, flags: loading | stale,
				group: groupServer, since: "7.0.0", acl: "connection",
				summary: "Returns the keys of a command line and what is done to them.",
				run:     runCommandGetKeysAndFlags,
			},
			{
				name: "help", arity: 2, flags: loading | stale,
				group: groupServer, since: "5.0.0", acl: "connection",
				summary: "Lists the subcommands of COMMAND.",
				run:     runHelp,
			},
		},
		run: runCommand,
	}
}

// infoCommand returns the row of INFO.
func infoCommand() command {
	return command{
		name: "info", arity: -1, flags: loading | stale,
		tips:  []string{"nondeterministic_output", "request_policy:all_shards", "response_policy:special"},
		group: groupServer, since: "1.0.0", acl: "dangerous",
		syntax:  "[section [section ...]]",
		summary: "Returns facts and counters about the server.",
		run:     runInfo,
	}
}

// configCommand returns the row of CONFIG.
func configCommand() command {
	return command{
		name: "config", arity: -2, flags: 0,
		group: groupServer, since: "2.0.0",
		summary: "Commands about the configuration.",
		subs: []command{
			{
				name: "get", arity: -3, flags: admin | noScript | loading | stale,
				group: groupServer, since: "2.0.0",
				syntax:  "parameter [parameter ...]",
				summary: "Returns the settings that match the patterns.",
				run:     runConfigGet,
			},
			{
				name: "set", arity: -4, flags: admin | noScript | loading | stale,
				tips:  []string{"request_policy:all_nodes", "response_policy:all_succeeded"},
				group: groupServer, since: "2.0.0",
				syntax:  "parameter value [parameter value ...]",
				summary: "Changes settings.",
				run:     runConfigSet,
			},
			{
				name: "resetstat", arity: 2, flags: admin | noScript | loading | stale,
				group: groupServer, since: "2.0.0",
				summary: "Sets the counters of INFO back to zero.",
				run:     runConfigResetStat,
			},
			{
				name: "rewrite", arity: 2, flags: admin | noScript | loading | stale,
				group: groupServer, since: "2.8.0",
				summary: "Writes the settings to the configuration file.",
				run:     runConfigRewrite,
			},
			{
				name: "help", arity: 2, flags: loading | stale,
				group: groupServer, since: "5.0.0",
				summary: "Lists the subcommands of CONFIG.",
				run:     runHelp,
			},
		},
	}
}

// aclCommand returns the row of ACL.
func aclCommand() command {
	return command{
		name: "acl", arity: -2, flags: 0,
		group: groupServer, since: "6.0.0",
		summary: "Commands about users and what they may do.",
		subs:    slices.Concat(aclUserCommands(), aclToolCommands()),
	}
}

// aclUserCommands returns the subcommands of ACL that show or change users.
func aclUserCommands() []command {
	return []command{
		{
			name: "list", arity: 2, flags: admin | noScript | loading | stale,
			group: groupServer, since: "6.0.0",
			summary: "Returns all users and their rules, as lines of an ACL file.",
			run:     runACLList,
		},
		{
			name: "users", arity: 2, flags: admin | noScript | loading | stale,
			group: groupServer, since: "6.0.0",
			summary: "Returns the names of all users.",
			run:     runACLUsers,
		},
		{
			name: "whoami", arity: 2, flags: noScript | loading | stale,
			group: groupServer, since: "6.0.0",
			summary: "Returns the name of the user this connection is logged in as.",
			run:     runACLWhoAmI,
		},
		{
			name: "getuser", arity: 3, flags: admin | noScript | loading | stale,
			group: groupServer, since: "6.0.0",
			syntax:  "username",
			summary: "Returns the rules of a user.",
			run:     runACLGetUser,
		},
		{
			name: "setuser", arity: -3, flags: admin | noScript | loading | stale,
			group: groupServer, since: "6.0.0",
			syntax:  "username [rule [rule ...]]",
			summary: "Makes a user or changes its rules.",
			run:     runACLSetUser,
		},
		{
			name: "deluser", arity: -3, flags: admin | noScript | loading | stale,
			group: groupServer, since: "6.0.0",
			syntax:  "username [username ...]",
			summary: "Deletes users and closes their connections.",
			run:     runACLDelUser,
		},
	}
}

// aclToolCommands returns the subcommands of ACL for categories, passwords, the log and the file.
func aclToolCommands() []command {
	return []command{
		{
			name: "cat", arity: -2, flags: noScript | loading | stale,
			group: groupServer, since: "6.0.0",
			syntax:  "[categoryname]",
			summary: "Returns the categories of commands, or the commands of one.",
			run:     runACLCat,
		},
		{
			name: "genpass", arity: -2, flags: noScript | loading | stale,
			group: groupServer, since: "6.0.0",
			syntax:  "[bits]",
			summary: "Returns a random password.",
			run:     runACLGenPass,
		},
		{
			name: "dryrun", arity: -4, flags: admin | noScript | loading | stale,
			group: groupServer, since: "7.0.0",
			syntax:  "username command [arg [arg ...]]",
			summary: "Tells whether a user may run a command, without running it.",
			run:     runACLDryRun,
		},
		{
			name: "log", arity: -2, flags: admin | noScript | loading | stale,
			group: groupServer, since: "6.0.0",
			syntax:  "[count | RESET]",
			summary: "Returns the latest refusals, or forgets them.",
			run:     runACLLog,
		},
		{
			name: "save", arity: 2, flags: admin | noScript | loading | stale,
			group: groupServer, since: "6.0.0",
			summary: "Writes all users to the ACL file.",
			run:     runACLSave,
		},
		{
			name: "load", arity: 2, flags: admin | noScript | loading | stale,
			group: groupServer, since: "6.0.0",
			summary: "Replaces all users by those of the ACL file.",
			run:     runACLLoad,
		},
		{
			name: "help", arity: 2, flags: loading | stale,
			group: groupServer, since: "6.0.0",
			summary: "Lists the subcommands of ACL.",
			run:     runHelp,
		},
	}
}

// databaseCommands returns the rows about whole databases.
func databaseCommands() []command {
	return []command{
		{
			name: "dbsize", arity: 1, flags: readonly | fast,
			tips:  []string{"request_policy:all_shards", "response_policy:agg_sum"},
			group: groupServer, since: "1.0.0", acl: "keyspace",
			summary: "Returns the number of keys in the database.",
			run:     runDBSize,
		},
		{
			name: "flushdb", arity: -1, flags: write,
			tips:  []string{"request_policy:all_shards", "response_policy:all_succeeded"},
			group: groupServer, since: "1.0.0", acl: "dangerous keyspace",
			syntax:  "[ASYNC | SYNC]",
			summary: "Deletes all keys of the database.",
			run:     runFlushDB,
		},
		{
			name: "flushall", arity: -1, flags: write,
			tips:  []string{"request_policy:all_shards", "response_policy:all_succeeded"},
			group: groupServer, since: "1.0.0", acl: "dangerous keyspace",
			syntax:  "[ASYNC | SYNC]",
			summary: "Deletes all keys of all databases.",
			run:     runFlushAll,
		},
		{
			name: "swapdb", arity: 3, flags: write | fast,
			group: groupServer, since: "4.0.0", acl: "dangerous keyspace",
			syntax:  "index1 index2",
			summary: "Exchanges the contents of two databases.",
			run:     runSwapDB,
		},
	}
}

// processCommands returns the rows about the server as a process: its time, its role, its
// saves and its end.
func processCommands() []command {
	return []command{
		{
			name: "time", arity: 1, flags: fast | loading | stale,
			tips:  []string{"nondeterministic_output"},
			group: groupServer, since: "2.6.0",
			summary: "Returns the time of the server.",
			run:     runTime,
		},
		{
			name: "role", arity: 1, flags: fast | noScript | loading | stale,
			group: groupServer, since: "2.8.12", acl: "admin dangerous",
			summary: "Returns the role of the server in replication: always master.",
			run:     runRole,
		},
		{
			name: "save", arity: 1, flags: admin | noScript | noMulti | noAsyncLoading,
			group: groupServer, since: "1.0.0",
			summary: "Makes every change durable now.",
			run:     runSave,
		},
		{
			name: "bgsave", arity: -1, flags: admin | noScript | noAsyncLoading,
			group: groupServer, since: "1.0.0",
			syntax:  "[SCHEDULE]",
			summary: "Makes every change durable in the background.",
			run:     runBGSave,
		},
		{
			name: "lastsave", arity: 1, flags: fast | loading | stale,
			tips:  []string{"nondeterministic_output"},
			group: groupServer, since: "1.0.0", acl: "admin dangerous",
			summary: "Returns when SAVE or BGSAVE last succeeded, as Unix time in seconds.",
			run:     runLastSave,
		},
		{
			name: "shutdown", arity: -1, flags: admin | noScript | loading | stale | noMulti | allowBusy,
			group: groupServer, since: "1.0.0",
			syntax:  "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
			summary: "Stops the server; every change stays.",
			run:     runShutdown,
		},
	}
}

// memoryCommand returns the row of MEMORY.
func memoryCommand() command {
	return command{
		name: "memory", arity: -2, flags: 0,
		group: groupServer, since: "4.0.0",
		summary: "Commands about memory.",
		subs: []command{
			{
				name: "usage", arity: -3, flags: readonly, keys: keySpec{2, 2, 1},
				access: "RO",
				group:  groupServer, since: "4.0.0",
				syntax:  "key [SAMPLES count]",
				summary: "Estimates the bytes a key takes.",
				run:     runMemoryUsage,
			},
			{
				name: "help", arity: 2, flags: loading | stale,
				group: groupServer, since: "4.0.0",
				summary: "Lists the subcommands of MEMORY.",
				run:     runHelp,
			},
		},
	}
}

// debugCommand returns the row of DEBUG.
func debugCommand() command {
	return command{
		name: "debug", arity: -2, flags: admin | noScript | loading | stale,
		group: groupServer, since: "1.0.0",
		summary: "Refused, as Redis does unless it was told otherwise.",
		run:     runDebug,
	}
}
