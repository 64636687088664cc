// Package enginetest says what a storage.Engine must do, in three programs.
//
// Run holds an engine to the contract, one sentence at a time. RunModel does random things
// to an engine and to NewModel and compares every answer. NewModel is an engine small
// enough to be checked by reading it.
//
// An engine's own tests call both:
//
//	enginetest.Run(t, factory)
//	enginetest.RunModel(t, factory, 0, 0)
//
// The tests of this package have a toy engine, remote, which shows how one keeps the contract that
// reaches its store over a network and holds no locks.
package enginetest
