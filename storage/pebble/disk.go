package pebble

import (
	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
)

// guarded is the engine as the guard of its disk knows it.
type guarded struct{ e *Engine }

func (g guarded) Usable() error { return g.e.usable() }

func (g guarded) Failed() error { return g.e.failed() }

func (g guarded) Held() (log, unsaved int64) { return g.e.log.Size(), g.e.memory.Load().Bytes() }

func (g guarded) Backlog() (due, full bool) { return g.e.fills() }

func (g guarded) WantCheckpoint() { g.e.wantCheckpoint() }

// watchDisk is called once a second.
func (e *Engine) watchDisk() {
	if e.guard.Tick() {
		e.checkpoints.ask()
	}
}

// Disk implements storage.DiskReporter.
func (e *Engine) Disk() storage.Disk {
	d := e.guard.Disk()
	d.Exposed = e.home.fs == folder.SystemFS && folder.IsExposed(e.home.dir)
	return d
}
