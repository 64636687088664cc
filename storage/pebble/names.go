package pebble

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
)

// Names in the folder of a store. Those of the log are wal's own: see ofLog.
const (
	// backupName is the only folder inside the store's where a backup may lie.
	backupName = "backup"
	// stageName is a folder inside the store's that holds links to its files while they are
	// brought to where the backup is made.
	stageName = "backup.stage"
	// restoreName is a folder inside the one being restored to. It holds the store until that is
	// whole, and keeps Open from taking what is around it for a store or an empty folder.
	restoreName = "restore.new"
	// lockFile is locked by the process that has the store open.
	lockFile = "LOCK"
	// reserveName and a digit name a piece of what is kept for a full disk.
	reserveName = "reserve."
	// Markers are empty files of Pebble's whose names say something: PREFIX NUMBER . WHAT. The one
	// with the highest number holds.
	manifestMarker = "marker.manifest."
	formatMarker   = "marker.format-version."
)

// nameOfReserve returns the name of a piece of the reserve.
func nameOfReserve(piece int) string { return reserveName + strconv.Itoa(piece) }

// isReserve reports whether a name is of a piece of the reserve.
func isReserve(name string) bool {
	piece, err := strconv.Atoi(strings.TrimPrefix(name, reserveName))
	return err == nil && name == reserveName+strconv.Itoa(piece)
}

// fileKind is what a name in a folder says about a store there.
type fileKind int

const (
	foreignFile fileKind = iota // nothing of a store's
	earlyFile                   // may be there before a store is: its creation may have been interrupted
	contentFile                 // comes when the store exists
)

// innocent reports whether a name says nothing about what a folder is for: what is hidden
// (.gitkeep, .DS_Store, a NAS's .snapshot), and what file systems and NAS put into every folder
// of theirs.
func innocent(name string) bool {
	switch name {
	case "lost+found", "@eaDir", "#snapshot", "#recycle", "System Volume Information", "$RECYCLE.BIN", "desktop.ini", "Thumbs.db":
		return true
	}
	return strings.HasPrefix(name, ".")
}

// earlyFiles are what sessiond itself puts into a folder beside what Pebble does.
var earlyFiles = map[string]bool{
	"LOCK": true, "reserve": true, "backup": true, "control.sock": true,
}

// kindOf tells the kinds apart. Pebble creates a store in this order: MANIFEST, its marker,
// other markers, OPTIONS. The log comes after them.
func kindOf(name string) fileKind {
	if ofLog(name) {
		return contentFile
	}
	if innocent(name) || earlyFiles[name] || strings.HasPrefix(name, reserveName) || isMarker(name) {
		return earlyFile
	}
	kind, digits := contentFile, ""
	switch ext := filepath.Ext(name); {
	case ext == ".log" || ext == ".sst":
		digits = strings.TrimSuffix(name, ext)
	case ext == ".dbtmp":
		digits = strings.TrimPrefix(strings.TrimSuffix(name, ext), "temporary.")
	case strings.HasPrefix(name, "MANIFEST-"):
		kind, digits = earlyFile, strings.TrimPrefix(name, "MANIFEST-")
	case strings.HasPrefix(name, "OPTIONS-"):
		digits = strings.TrimPrefix(name, "OPTIONS-")
	}
	if _, err := strconv.ParseUint(digits, 10, 64); err != nil || len(digits) < numberWidth {
		return foreignFile
	}
	return kind
}

// isMarker reports whether a file says by its name which of Pebble's other files count.
func isMarker(name string) bool { return strings.HasPrefix(name, "marker.") }

// numberWidth is how many digits a number in a name has at least.
const numberWidth = 6

// ofLog reports whether a name is of a file of the log.
func ofLog(name string) bool {
	_, ok := wal.Lookup(name)
	return ok
}

// makesStore reports whether a name in a folder is of the file that makes it a store.
func makesStore(name string) bool { return strings.HasPrefix(name, manifestMarker) }

func isManifest(name string) bool { return strings.HasPrefix(filepath.Base(name), "MANIFEST-") }
