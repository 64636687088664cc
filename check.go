package sessiond

import (
	"context"

	"github.com/sessiond/sessiond/storage/pebble"
)

// What Check and Repair take and return.
type (
	// CheckOptions changes how Check reads. The zero value is ready to use.
	CheckOptions = pebble.CheckOptions
	// CheckReport is what Check found.
	CheckReport = pebble.CheckReport
	// Problem is one thing that is wrong with a folder. It names no session.
	Problem = pebble.Problem
	// DatabaseSessions is how many sessions a database has.
	DatabaseSessions = pebble.DatabaseSessions
)

// Check reads the whole folder dir, which it does not change and which no Store may have
// open, and says what is damaged. Damage is no error: an error says that it could not look.
func Check(ctx context.Context, dir string, options CheckOptions) (CheckReport, error) {
	return pebble.Check(ctx, dir, options)
}
