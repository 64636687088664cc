package main

import "slices"

// directives returns the directives of Redis 7.0 that are not flags of sessiond.
func directives() []directive {
	return slices.Concat(storeDirectives(), memoryDirectives(), processDirectives(), networkDirectives(),
		nodeDirectives(), insideDirectives())
}

// none returns no values: sessiond does something else for any value.
func none() []string { return []string{} }

func storeDirectives() []directive {
	return []directive{
		{
			names: "save dbfilename rdbcompression rdbchecksum rdb-del-sync-files rdb-save-incremental-fsync " +
				"sanitize-dump-payload stop-writes-on-bgsave-error",
			does: "each change is written to the store when it is made, as --durability says; there are no snapshots",
		},
		{
			names: "appendonly", so: []string{"yes"},
			does: "each change is written to the store when it is made, as --durability says",
		},
		{
			names: "appendfilename appenddirname auto-aof-rewrite-percentage auto-aof-rewrite-min-size aof-load-truncated " +
				"aof-use-rdb-preamble aof-timestamp-enabled aof-rewrite-incremental-fsync aof-disable-auto-gc " +
				"no-appendfsync-on-rewrite",
			does: "the store keeps a log of its own in --dir, and keeps it short",
		},
	}
}

func memoryDirectives() []directive {
	const bounded = "no session is evicted; --cache-bytes bounds the memory, --max-disk the disk"
	return []directive{
		{names: "maxmemory", so: []string{"0"}, does: bounded},
		{names: "maxmemory-policy", so: []string{"noeviction"}, does: bounded},
		{names: "maxmemory-samples maxmemory-eviction-tenacity lfu-log-factor lfu-decay-time", does: bounded},
		{
			names: "maxmemory-clients", so: []string{"0"},
			does: "--client-query-buffer-limit and --client-output-buffer-limit bound each client, --maxclients their number",
		},
	}
}

func processDirectives() []directive {
	const standardError = "the log goes to standard error"
	return []directive{
		{
			names: "daemonize", so: []string{"no"}, does: "sessiond stays in the foreground",
			refusal: "sessiond stays in the foreground: leave it out, and let systemd, docker or the shell's & keep it running",
		},
		{
			names: "supervised", so: []string{"no", "auto"}, does: "systemd is not told when sessiond is ready",
			refusal: "systemd is not told when sessiond is ready: leave it out, with Type=exec in the unit",
		},
		{
			names: "pidfile", so: []string{""}, does: "no file is written",
			refusal: "sessiond writes no such file: leave it out; systemd and docker know the process, the shell has it in $!",
		},
		{
			names: "logfile", so: []string{"", "/dev/stderr"}, does: standardError,
			refusal: "the log goes to standard error: leave it out, and add 2>>FILE to the command line",
		},
		{
			names: "syslog-enabled", so: []string{"no"}, does: standardError,
			refusal: "the log goes to standard error: leave it out; systemd and docker pass that on, a shell does with 2>&1 | logger",
		},
		{names: "syslog-ident syslog-facility", does: standardError},
		{
			names: "oom-score-adj", so: []string{"no"},
			does: "the process stays as it was started; systemd has OOMScoreAdjust, docker --oom-score-adj",
		},
		{
			names: "oom-score-adj-values set-proc-title proc-title-template always-show-logo crash-log-enabled " +
				"crash-memcheck-enabled ignore-warnings disable-thp server_cpulist bio_cpulist aof_rewrite_cpulist bgsave_cpulist",
			does: "the process stays as it was started",
		},
		{
			names: "shutdown-timeout shutdown-on-sigint shutdown-on-sigterm",
			does:  "a stop answers what has arrived, within five seconds, and closes the store",
		},
		{
			names: "loadmodule", so: none(), does: "there are no modules",
			refusal: "there are no modules: leave it out",
		},
		{
			names: "include", so: none(), does: "no configuration file is read",
			refusal: "sessiond reads no configuration file: give the directives in it as flags or variables",
		},
		{
			names: "enable-debug-command enable-module-command enable-protected-configs", so: []string{"no"},
			does: "there are no such commands",
		},
	}
}

func networkDirectives() []directive {
	const modernTLS = "TLS 1.2 and 1.3 are spoken, with the ciphers that Go holds to be safe"
	return []directive{
		{
			names: "protected-mode", so: []string{"yes"},
			does: "an address that others can reach needs a password (--requirepass, --user, --aclfile) or client certificates",
		},
		{names: "tcp-backlog", does: "the queue of new connections is as long as the system allows: net.core.somaxconn"},
		{names: "socket-mark-id", so: []string{"0"}, does: "connections have no mark"},
		{
			names: "notify-keyspace-events", so: []string{""}, does: "no events are sent",
			refusal: "no events are sent: leave it out, and turn off in the application what waits for them",
		},
		{
			names: "tls-protocols", so: []string{"", "TLSv1.2 TLSv1.3", "TLSv1.3 TLSv1.2"}, does: modernTLS,
			refusal: modernTLS + ": leave it out",
		},
		{names: "tls-ciphers tls-ciphersuites", so: []string{""}, does: modernTLS},
		{
			names: "tls-dh-params-file tls-prefer-server-ciphers tls-session-caching tls-session-cache-size " +
				"tls-session-cache-timeout",
			does: modernTLS,
		},
		{
			names: "tls-key-file-pass", so: []string{""}, does: "the key is read without a passphrase",
			refusal: "the key is read without a passphrase: leave it out, and take the passphrase off with openssl pkey",
		},
		{names: "acllog-max-len", so: []string{"128"}, does: "ACL LOG keeps 128 entries"},
		{names: "acl-pubsub-default", so: []string{"resetchannels"}, does: "a user may use no channel unless a rule says so"},
	}
}

// nodeDirectives are the directives about several nodes.
func nodeDirectives() []directive {
	const (
		alone       = "there is one node, without replicas"
		leaveCopies = "there are no replicas: leave it out; sessiond backup makes copies"
	)
	return []directive{
		{names: "replicaof slaveof", so: []string{"", "no one"}, does: alone, refusal: leaveCopies},
		{names: "min-replicas-to-write min-slaves-to-write", so: []string{"0"}, does: alone, refusal: leaveCopies},
		{
			names: "cluster-enabled", so: []string{"no"}, does: alone,
			refusal: "there is no cluster: leave it out, and let clients connect as to a single Redis",
		},
		{
			names: "sentinel", so: none(), does: alone,
			refusal: "there is no sentinel: leave it out, and let clients connect as to a single Redis",
		},
		{
			names: "masterauth masteruser min-replicas-max-lag min-slaves-max-lag bind-source-addr propagation-error-behavior " +
				"repl-backlog-size repl-backlog-ttl repl-disable-tcp-nodelay repl-diskless-load repl-diskless-sync " +
				"repl-diskless-sync-delay repl-diskless-sync-max-replicas repl-ping-replica-period repl-ping-slave-period " +
				"repl-timeout replica-announce-ip replica-announce-port replica-announced replica-ignore-disk-write-errors " +
				"replica-ignore-maxmemory replica-lazy-flush replica-priority replica-read-only replica-serve-stale-data " +
				"slave-announce-ip slave-announce-port slave-ignore-maxmemory slave-lazy-flush slave-priority " +
				"slave-read-only slave-serve-stale-data tls-replication tls-cluster tls-client-cert-file " +
				"tls-client-key-file tls-client-key-file-pass cluster-allow-pubsubshard-when-down " +
				"cluster-allow-reads-when-down cluster-allow-replica-migration cluster-announce-bus-port " +
				"cluster-announce-hostname cluster-announce-ip cluster-announce-port cluster-announce-tls-port " +
				"cluster-config-file cluster-link-sendbuf-limit cluster-migration-barrier cluster-node-timeout cluster-port " +
				"cluster-preferred-endpoint-type cluster-replica-no-failover cluster-replica-validity-factor " +
				"cluster-require-full-coverage cluster-slave-no-failover cluster-slave-validity-factor",
			does: alone,
		},
	}
}

// insideDirectives tune the internals of Redis.
func insideDirectives() []directive {
	return []directive{
		{
			names: "hz dynamic-hz active-expire-effort activerehashing activedefrag active-defrag-cycle-max " +
				"active-defrag-cycle-min active-defrag-ignore-bytes active-defrag-max-scan-fields " +
				"active-defrag-threshold-lower active-defrag-threshold-upper io-threads io-threads-do-reads " +
				"jemalloc-bg-thread lazyfree-lazy-eviction lazyfree-lazy-expire lazyfree-lazy-server-del " +
				"lazyfree-lazy-user-del lazyfree-lazy-user-flush hash-max-listpack-entries hash-max-listpack-value " +
				"hash-max-ziplist-entries hash-max-ziplist-value hll-sparse-max-bytes list-compress-depth " +
				"list-max-listpack-size list-max-ziplist-size set-max-intset-entries stream-node-max-bytes " +
				"stream-node-max-entries zset-max-listpack-entries zset-max-listpack-value zset-max-ziplist-entries " +
				"zset-max-ziplist-value tracking-table-max-keys busy-reply-threshold lua-time-limit",
			does: "it tunes Redis; there is nothing like it to tune",
		},
		{
			names: "slowlog-log-slower-than slowlog-max-len latency-monitor-threshold latency-tracking " +
				"latency-tracking-info-percentiles",
			so:   none(),
			does: "there is no slow log and no monitor of latency; INFO commandstats counts calls and failures",
		},
	}
}
