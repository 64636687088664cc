package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/sessiond/sessiond"

	"github.com/sessiond/sessiond/internal/paths"
)

// config is what the command line and the environment ask for.
type config struct {
	help, version bool

	bind           []string
	port           uint16
	unixSocket     string
	unixSocketPerm fs.FileMode
	tls            tlsConfig

	dir        string
	durability sessiond.Durability
	databases  int
	cacheBytes int64
	logSize    int64
	maxDisk    int64
	backupDir  string
	wait       bool

	password   string
	users      []string
	renames    []string
	aclFile    string
	maxClients int
	// Bytes that one client may take; see sessiond.Options.
	maxBulk, queryBuffer int
	outputLimits         sessiond.OutputLimits
	idle, keepAlive      time.Duration // as in sessiond.Options
	logLevel             slog.Level

	startMessages []startMessage
}

// flags is a config before it was checked: some values are kept as typed.
type flags struct {
	config
	set   *pflag.FlagSet
	typed struct {
		unixSocketPerm          string
		durability, appendfsync string
		logLevel                string
		timeout, keepAlive      int
	}
}

func newFlags() *flags {
	f := &flags{set: pflag.NewFlagSet("sessiond", pflag.ContinueOnError)}
	set := f.set
	set.SortFlags = false
	set.Usage = func() {} // run prints it

	set.StringSliceVar(&f.bind, "bind", []string{"127.0.0.1", "-::1"},
		"`addresses` to listen on, with spaces or commas between: -::1 is left out on a machine without it, * is all of IPv4,\n"+
			"-::* all of IPv6, \"\" none (Unix socket only); 127.0.0.1:7000 and [::1]:0 have a port of their own, 0 a free one,\n"+
			"which the first line of output tells")
	set.Uint16Var(&f.port, "port", 6379, "TCP `port`; 0 is none, as in redis.conf; --bind 127.0.0.1:0 takes a free one")
	f.tls.addFlags(set)
	set.StringVar(&f.unixSocket, "unixsocket", "", "`path` of a Unix socket to listen on, too")
	set.StringVar(&f.typed.unixSocketPerm, "unixsocketperm", "700", "permission of the Unix socket, `octal`")
	set.StringVar(&f.dir, "dir", "./sessiond-data", "`folder` of the data, as seen from where sessiond is started; it is made if need be")
	set.StringVar(&f.typed.durability, "durability", "session",
		"`mode`: what is on disk before a reply: session, strict or everysec")
	set.StringVar(&f.typed.appendfsync, "appendfsync", "",
		"`when`: Redis' words for --durability: always is strict, everysec is everysec")
	set.IntVar(&f.databases, "databases", 16, "`number` of databases")
	bytesFlag(set, &f.cacheBytes, "cache-bytes", 256<<20, "`bytes` of memory for recently used sessions")
	bytesFlag(set, &f.logSize, "log-size", 0, "`bytes` of the log of a new data folder, from 1 MiB to 8 GiB: so much is read again, at most, by a start\n"+
		"after kill -9; 0 is twice --cache-bytes, from 32 to 128 MiB, and less on a small disk")
	bytesFlag(set, &f.maxDisk, "max-disk", 0, "`bytes` the data folder may take before new sessions are refused; 0 is all there is")
	set.StringVar(&f.backupDir, "backup-dir", "", "`folder` of the copy that SAVE and BGSAVE make; empty means backup inside the data folder")
	set.BoolVar(&f.wait, "wait", false, "wait until another sessiond has let go of the data folder, then take over")
	set.StringVar(&f.password, "requirepass", "", "`password` clients log in with; better given by the environment")
	set.StringArrayVar(&f.users, "user", nil,
		"ACL `user`, a name and its rules as in redis.conf: \"alice on >secret ~sess:* +@read +set\"; repeat the flag for more, or the variable's line")
	set.StringArrayVar(&f.renames, "rename-command", nil,
		"`names` of a command: its own and the new one, \"\" for none; the flag can be repeated")
	set.StringVar(&f.aclFile, "aclfile", "", "`file` of ACL users, in Redis' format, in place of --user and --requirepass")
	set.IntVar(&f.maxClients, "maxclients", 10000, "`number` of clients at once")
	bytesFlag(set, &f.maxBulk, "proto-max-bulk-len", 64<<20, "`bytes` of the largest argument or value, up to 512 MiB")
	bytesFlag(set, &f.queryBuffer, "client-query-buffer-limit", 256<<20, "`bytes` of the largest command or transaction")
	set.Var(&outputLimits{to: &f.outputLimits, typed: "256mb"}, "client-output-buffer-limit",
		"`bytes` of replies that may wait for one client, or as in redis.conf with a soft limit and its seconds:\n"+
			"normal 256mb 64mb 60, where 0 bytes are no limit")
	set.IntVar(&f.typed.timeout, "timeout", 0, "`seconds` a client may be silent; 0 is forever")
	set.IntVar(&f.typed.keepAlive, "tcp-keepalive", 300, "`seconds` of silence after which the system asks whether a client is still there; 0 is never")
	set.StringVar(&f.typed.logLevel, "loglevel", "notice",
		"`level` of the log: debug, verbose, notice (or info), warning (or warn), error")
	set.BoolVarP(&f.version, "version", "v", false, "print the version and exit")
	set.BoolVarP(&f.help, "help", "h", false, "print this text and exit")
	addDirectives(set)
	return f
}

func usage() string {
	return `sessiond keeps web sessions on disk and serves them over the Redis protocol.

Usage: sessiond [flags]
       sessiond TOOL [flags]

` + newFlags().set.FlagUsages() + `
The other directives of redis.conf are flags, too, where they ask for what sessiond does
anyway (--save "", --appendonly yes); the log tells what that is. Those that ask for what is
not there are refused with the reason.

Tools, each with a --help of its own (or: sessiond help TOOL):
` + toolSummaries() + `
Each flag can be given as an environment variable, too: SESSIOND_PORT for --port and so
on. A flag wins over the variable; an empty variable counts as not set.
`
}

// variable returns the name of the environment variable that stands for a flag.
func variable(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func parseConfig(args []string, getenv func(string) string) (config, error) {
	f := newFlags()
	if err := f.set.Parse(joinWords(f.set, args)); err != nil {
		return config{}, flagError(f.set, err)
	}
	if f.set.NArg() > 0 {
		return config{}, unexpected(f.set.Arg(0))
	}
	if f.help || f.version {
		return f.config, nil
	}
	if err := f.readEnvironment(getenv); err != nil {
		return config{}, err
	}
	return f.check()
}

// readEnvironment sets the flags that the command line has not set.
func (f *flags) readEnvironment(getenv func(string) string) error {
	given := map[string]bool{}
	f.set.Visit(func(flag *pflag.Flag) { given[flag.Name] = true })
	// These are two names of one option: if either of them is on the command line, both variables are
	// ignored.
	given["durability"] = given["durability"] || given["appendfsync"]
	given["appendfsync"] = given["durability"]

	var first error
	f.set.VisitAll(func(flag *pflag.Flag) {
		name := variable(flag.Name)
		value := getenv(name)
		switch {
		case first != nil, value == "", given[flag.Name], flag.Name == "help", flag.Name == "version":
			return
		case strings.HasSuffix(flag.Name, "port") && strings.HasPrefix(value, "tcp://"):
			return // Kubernetes sets these for a Service that is called sessiond or sessiond-tls
		}
		err := f.set.Set(flag.Name, value)
		var wrong *pflag.InvalidValueError
		if errors.As(err, &wrong) {
			err = invalid(name, wrong)
		}
		first = err
	})
	return first
}

// invalid returns the error for a wrong value of a flag or a variable.
func invalid(name string, err *pflag.InvalidValueError) error {
	reason := "not a whole number"
	switch err.GetFlag().Value.Type() {
	case "uint16":
		reason = "not a whole number from 0 to 65535"
	case "bool":
		reason = "neither true nor false"
	case "stringSlice":
		reason = "not a list"
	case "bytes":
		reason = errBytes.Error()
	case "outputLimits":
		reason = err.Unwrap().Error()
	case "directive":
		return usagef("%s: %w", name, err.Unwrap()) // the value may be a secret
	}
	return usagef("%s %q: %s", name, err.GetValue(), reason)
}

// check parses and checks the values that were typed.
func (f *flags) check() (config, error) {
	c := f.config
	c.idle = time.Duration(f.typed.timeout) * time.Second
	c.keepAlive = cmp.Or(time.Duration(f.typed.keepAlive)*time.Second, -1)
	c.bind = splitAddresses(f.bind)
	c.users = splitLines(f.users)
	c.renames = splitLines(f.renames)
	c.unixSocket = socketPath(f.unixSocket)
	if err := checkSocketPath(c.unixSocket); err != nil {
		return config{}, usagef("--unixsocket %s: %w", f.unixSocket, err)
	}
	c.startMessages = directiveMessages(f.set)
	var err error
	if c.durability, err = f.parseDurability(); err != nil {
		return config{}, err
	}
	if c.tls, err = f.checkTLS(); err != nil {
		return config{}, err
	}
	if c.logLevel, err = parseLevel(f.typed.logLevel); err != nil {
		return config{}, err
	}
	perm, err := strconv.ParseUint(f.typed.unixSocketPerm, 8, 32)
	switch {
	case err != nil || perm > 0o777:
		return config{}, usagef("--unixsocketperm %q: not a permission such as 700 or 770", f.typed.unixSocketPerm)
	case perm&0o222 == 0:
		return config{}, usagef("--unixsocketperm %s lets nobody connect, which takes the permission to write: 700 or 770 for instance",
			f.typed.unixSocketPerm)
	case f.databases < 1 || f.databases > sessiond.MaxDatabases:
		return config{}, usagef("--databases %d: not from 1 to %d", f.databases, sessiond.MaxDatabases)
	case f.maxClients < 1:
		return config{}, usagef("--maxclients %d: at least one", f.maxClients)
	case f.maxBulk < 1<<20 || f.maxBulk > 512<<20:
		return config{}, usagef("--proto-max-bulk-len %d: from %d to %d", f.maxBulk, 1<<20, 512<<20)
	case f.queryBuffer < 1<<20 || f.queryBuffer > math.MaxInt32:
		return config{}, usagef("--client-query-buffer-limit %d: from %d to %d", f.queryBuffer, 1<<20, math.MaxInt32)
	case f.typed.timeout < 0:
		return config{}, usagef("--timeout %d: not negative, 0 is forever", f.typed.timeout)
	case f.typed.keepAlive < 0 || f.typed.keepAlive > math.MaxInt32:
		return config{}, usagef("--tcp-keepalive %d: from 0, which is never, to %d", f.typed.keepAlive, math.MaxInt32)
	case f.cacheBytes < 1:
		return config{}, usagef("--cache-bytes %d: at least one", f.cacheBytes)
	case f.logSize != 0 && (f.logSize < 1<<20 || f.logSize > 8<<30):
		return config{}, usagef("--log-size %d: from %d to %d, 0 is as it fits --cache-bytes", f.logSize, 1<<20, int64(8<<30))
	case f.maxDisk < 0:
		return config{}, usagef("--max-disk %d: not negative, 0 is no limit", f.maxDisk)
	case f.dir == "":
		return config{}, usagef("--dir: a folder is needed")
	case len(c.bind) == 0 && c.unixSocket == "":
		return config{}, usagef("--bind: with no address, --unixsocket is needed")
	case !c.tcp() && c.unixSocket == "":
		return config{}, usagef("--port 0 is no TCP port: give --unixsocket or --tls-port, " +
			"or for a free port --bind 127.0.0.1:0 in place of --port 0")
	}
	c.unixSocketPerm = fs.FileMode(perm)
	files := &c.tls.files
	// Not the Unix socket: its path may have only about a hundred bytes.
	err = paths.Absolute(&c.dir, &c.backupDir, &c.aclFile, &files.certificate, &files.key, &files.ca, &files.caDir)
	return c, err
}

// parseDurability reads the durability mode, which two flags can set.
func (f *flags) parseDurability() (sessiond.Durability, error) {
	mode, err := sessiond.ParseDurability(f.typed.durability)
	if err != nil {
		return 0, usagef("--durability %w", err)
	}
	var alias sessiond.Durability
	switch f.typed.appendfsync {
	case "":
		return mode, nil
	case "always":
		alias = sessiond.Strict
	case "everysec":
		alias = sessiond.EverySec
	case "no":
		return 0, usagef(`--appendfsync no: sessiond has no mode that leaves the disk to the operating system; "everysec" comes closest`)
	default:
		return 0, usagef("--appendfsync %q is none of always, everysec", f.typed.appendfsync)
	}
	if f.set.Changed("durability") && alias != mode {
		return 0, usagef("--appendfsync %s means --durability %v, but --durability is %v: give one of them",
			f.typed.appendfsync, alias, mode)
	}
	return alias, nil
}

// parseLevel accepts Redis' names and those of slog.
func parseLevel(name string) (slog.Level, error) {
	switch strings.ToLower(name) {
	case "debug":
		return slog.LevelDebug, nil
	case "verbose":
		return slog.LevelInfo - 1, nil
	case "notice", "info":
		return slog.LevelInfo, nil
	case "warning", "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, usagef("--loglevel %q is none of debug, verbose, notice, warning", name)
}

// splitAddresses allows spaces between addresses, too, as in a redis.conf.
func splitAddresses(values []string) []string {
	var addresses []string
	for _, value := range values {
		addresses = append(addresses, strings.Fields(value)...)
	}
	return addresses
}

// splitLines splits values at line ends, because a variable cannot be repeated like a flag.
func splitLines(values []string) []string {
	var lines []string
	for line := range strings.SplitSeq(strings.Join(values, "\n"), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// loginOptional reports whether clients may do without a password.
func (c config) loginOptional() (bool, error) {
	optional, err := sessiond.Options{Password: c.password, Users: c.users, ACLFile: c.aclFile}.LoginOptional()
	switch {
	case err == nil:
	case c.aclFile == "":
		err = usagef("--user: %w", err)
	case len(c.users) > 0 || c.password != "":
		err = usagef("--aclfile %s: %w", c.aclFile, err)
	default:
		err = fmt.Errorf("--aclfile: %w", err)
	}
	return optional, err
}
