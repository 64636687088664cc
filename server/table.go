package server

import "slices"

// commandTable returns every command, one row each, in the order of the Redis
// documentation's groups. Dispatch, arity errors, the login gate, the rules of MULTI, read
// and write transactions, COMMAND, COMMAND DOCS and docs/commands.md derive from it.
//
// The rows of a group are in table_<group>.go. COMMAND and the ids follow their order.
//
// A row with the flag write runs in an Update, one with readonly in a View, any other
// without a transaction. It is a function because a package-level table cannot be named
// by its own handlers.
func commandTable() []command {
	return slices.Concat(
		connectionCommands(),
		clusterCommands(),
		stringCommands(),
		genericCommands(),
		serverCommands(),
		transactionCommands(),
	)
}
