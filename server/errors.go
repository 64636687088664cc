package server

import (
	"fmt"
	"strings"

	"github.com/sessiond/sessiond/server/acl"
)

// replyError is a mistake of the client. Its text goes on the wire behind a '-'. The texts equal
// Redis' byte for byte, because clients match on them.
type replyError string

func (e replyError) Error() string { return string(e) }

const (
	errSyntax         = replyError("ERR syntax error")
	errNotInteger     = replyError("ERR value is not an integer or out of range")
	errNotFloat       = replyError("ERR value is not a valid float")
	errOverflow       = replyError("ERR increment or decrement would overflow")
	errNotFinite      = replyError("ERR increment would produce NaN or Infinity")
	errDecrOverflow   = replyError("ERR decrement would overflow")
	errWrongType      = replyError("WRONGTYPE Operation against a key holding the wrong kind of value")
	errNoSuchKey      = replyError("ERR no such key")
	errSameObject     = replyError("ERR source and destination objects are the same")
	errDBRange        = replyError("ERR DB index is out of range")
	errOffset         = replyError("ERR offset is out of range")
	errTooLong        = replyError("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
	errInvalidCursor  = replyError("ERR invalid cursor")
	errNoAuth         = replyError("NOAUTH Authentication required.")
	errNestedMulti    = replyError("ERR MULTI calls can not be nested")
	errExecNoMulti    = replyError("ERR EXEC without MULTI")
	errDiscardNoMulti = replyError("ERR DISCARD without MULTI")
	errWatchInMulti   = replyError("ERR WATCH inside MULTI is not allowed")
	errExecAbort      = replyError("EXECABORT Transaction discarded because of previous errors.")
	errNoMulti        = replyError("ERR Command not allowed inside a transaction")
	errPanic          = replyError("ERR internal error, see the server's log; the connection is closed")
	errMaxClients     = replyError("ERR max number of clients reached")

	// errDiskFull begins like the error that Redis returns when it cannot write to its disk.
	errDiskFull = replyError("MISCONF the disk is full, or the limit of --max-disk is reached: sessions can still be read and deleted, and writes resume by themselves when there is room")

	// errStoreFailed is the last reply of a store that has failed.
	errStoreFailed = replyError("MISCONF the store has failed, and nothing is acknowledged any more: the log says why")

	// errOutputLimit ends a command whose reply is never sent, because the client is cut.
	errOutputLimit = replyError("ERR reply exceeds client-output-buffer-limit")
	// errExecSize has no counterpart in Redis, which runs out of memory instead.
	errExecSize = replyError("ERR transaction discarded: it writes more than four times proto-max-bulk-len")
)

// Errors of the commands about connections.
const (
	errIntRange         = replyError("ERR value is out of range, value must between -2147483648 and 2147483647")
	errWrongPass        = replyError("WRONGPASS invalid username-password pair or user is disabled.")
	errNoPassword       = replyError("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
	errNoProto          = replyError("NOPROTO unsupported protocol version")
	errProtoNotInteger  = replyError("ERR Protocol version is not an integer or out of range")
	errHelloNoAuth      = replyError("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
	errClusterDisabled  = replyError("ERR This instance has cluster support disabled")
	errClientName       = replyError("ERR Client names cannot contain spaces, newlines or special characters.")
	errClientText       = replyError("ERR client names and library names are limited to 4096 bytes")
	errClientID         = replyError("ERR Invalid client ID")
	errClientIDPositive = replyError("ERR client-id should be greater than 0")
	errNoSuchClient     = replyError("ERR No such client")
	errPauseMode        = replyError("ERR CLIENT PAUSE mode must be WRITE or ALL")
	errPauseTimeout     = replyError("ERR timeout is not an integer or out of range")
	errPauseNegative    = replyError("ERR timeout is negative")
	errUnblockReason    = replyError("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
)

// Errors of the commands about the server.
const (
	errDebug        = replyError("ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.")
	errSaving       = replyError("ERR Background save already in progress")
	errNoShutdown   = replyError("ERR No shutdown in progress.")
	errShutdown     = replyError("ERR Errors trying to SHUTDOWN. Check logs.")
	errNoConfigFile = replyError("ERR The server is running without a config file")
	errRewrite      = replyError("ERR Rewriting config file: sessiond leaves the file to you")

	errCommandNames   = replyError("ERR too many command names, the limit is 1024")
	errGetKeysCommand = replyError("ERR Invalid command specified")
	errGetKeysNone    = replyError("ERR The command has no key arguments")
	errGetKeysArity   = replyError("ERR Invalid number of arguments specified for command")

	errGetKeysArguments = replyError("ERR Invalid arguments specified for command")
)

func errUnknownSetting(name []byte) replyError {
	return replyError("ERR Unknown option or number of arguments for CONFIG SET - '" + cString(name) + "'")
}

func errSetting(name []byte, why settingError) replyError {
	return replyError("ERR CONFIG SET failed (possibly related to argument '" + cString(name) + "') - " + string(why))
}

func errHelloOption(option []byte) replyError {
	return replyError("ERR Syntax error in HELLO option '" + cString(option) + "'")
}

func errClientInfoOption(option []byte) replyError {
	return replyError("ERR Unrecognized option '" + cString(option) + "'")
}

func errClientInfoText(option []byte) replyError {
	return replyError("ERR " + cString(option) + " cannot contain spaces, newlines or special characters.")
}

func errClientKind(kind []byte) replyError {
	return replyError("ERR Unknown client type '" + cString(kind) + "'")
}

func errNoSuchUser(user []byte) replyError {
	return replyError("ERR No such user '" + cString(user) + "'")
}

// cString returns an argument as Redis prints it in an error: up to the first NUL.
func cString(b []byte) string { return excerpt(b, len(b)) }

func errArity(name string) replyError {
	return replyError("ERR wrong number of arguments for '" + name + "' command")
}

func errInvalidExpire(name string) replyError {
	return replyError("ERR invalid expire time in '" + name + "' command")
}

// errUnknownCommand quotes the command and its first arguments as Redis 7 does: 128 bytes of each,
// up to a NUL.
func errUnknownCommand(args [][]byte) replyError {
	var b strings.Builder
	for _, arg := range args[1:] {
		if b.Len() >= 128 {
			break
		}
		fmt.Fprintf(&b, "'%s' ", excerpt(arg, 128-b.Len()))
	}
	return replyError("ERR unknown command '" + excerpt(args[0], 128) +
		"', with args beginning with: " + b.String())
}

func errUnknownSubcommand(container string, sub []byte) replyError {
	return replyError("ERR unknown subcommand '" + excerpt(sub, 128) +
		"'. Try " + strings.ToUpper(container) + " HELP.")
}

// errEngine is the reply to an error of the engine, which is also logged.
func errEngine(err error) replyError {
	return replyError("ERR storage: " + err.Error())
}

func excerpt(b []byte, limit int) string {
	s, _, _ := strings.Cut(string(b[:min(len(b), limit)]), "\x00")
	return s
}

// Errors of the commands on keys.
const (
	errExpireNXWithOthers = replyError("ERR NX and XX, GT or LT options at the same time are not compatible")
	errExpireGTWithLT     = replyError("ERR GT and LT options at the same time are not compatible")
	errFirstDB            = replyError("ERR invalid first DB index")
	errSecondDB           = replyError("ERR invalid second DB index")
	errPatternTooLong     = replyError("ERR pattern is too long")
	errNoFrequency        = replyError("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")
)

func errUnsupportedOption(option []byte) replyError {
	return replyError("ERR Unsupported option " + strings.TrimRight(excerpt(option, len(option)), "\r\n"))
}

// Errors of the ACL.
const (
	errNoPermKey     = replyError("NOPERM this user has no permissions to access one of the keys used as arguments")
	errDeleteDefault = replyError("ERR The 'default' user cannot be removed")
	errGenPass       = replyError("ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096")
	errNoACLFile     = replyError("ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration.")
	errACLSave       = replyError("ERR There was an error trying to save the ACLs. Please check the server logs for more information")
)

func errNoPermCommand(name string) replyError {
	return replyError("NOPERM this user has no permissions to run the '" + name + "' command")
}

func errNoPermQueued(reason string) replyError {
	return replyError("NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. " +
		"This command is no longer allowed for the following reason: " + reason)
}

// errACL adds Redis' error code to an error of package acl.
func errACL(err error) replyError { return replyError("ERR " + err.Error()) }

func errACLLines(err acl.LinesError) replyError {
	return replyError("ERR " + string(err) +
		" WARNING: ACL errors detected, no change to the previously active ACL rules was performed")
}

func errUnknownCategory(name []byte) replyError {
	return replyError("ERR Unknown category '" + excerpt(name, 128) + "'")
}

func errDryRunUser(name []byte) replyError {
	return replyError("ERR User '" + cString(name) + "' not found")
}

func errDryRunCommand(name []byte) replyError {
	return replyError("ERR Command '" + cString(name) + "' not found")
}

func errSubcommandUse(sub []byte, container string) replyError {
	return replyError("ERR unknown subcommand or wrong number of arguments for '" + excerpt(sub, 128) +
		"'. Try " + container + " HELP.")
}
