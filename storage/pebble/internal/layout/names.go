package layout

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
)

// Names in the folder of a store. Those of the log are wal's own: see ofLog.
const (
	// BackupName is the only folder inside the store's where a backup may lie.
	BackupName = "backup"
	// StageName is a folder inside the store's that holds links to its files while they are
	// brought to where the backup is made.
	StageName = "backup.stage"
	// ReceiptName is the file in the folder of a backup that says what the backup consists of.
	ReceiptName, NewReceiptName = "BACKUP", "BACKUP.new"
	// RestoreName is a folder inside the one being restored to. It holds the store until that is
	// whole, and keeps Open from taking what is around it for a store or an empty folder.
	RestoreName = "restore.new"
	// LockFile is locked by the process that has the store open.
	LockFile = "LOCK"
	// BallastPrefix and a digit name a piece of what is kept for a full disk.
	BallastPrefix = "reserve."
	// Markers are empty files of Pebble's whose names say something: PREFIX NUMBER . WHAT. The one
	// with the highest number holds.
	ManifestMarker = "marker.manifest."
	FormatMarker   = "marker.format-version."
)

// BallastName returns the name of a piece of the reserve.
func BallastName(piece int) string { return BallastPrefix + strconv.Itoa(piece) }

// IsBallast reports whether a name is of a piece of the reserve.
func IsBallast(name string) bool {
	piece, err := strconv.Atoi(strings.TrimPrefix(name, BallastPrefix))
	return err == nil && name == BallastPrefix+strconv.Itoa(piece)
}

// FileKind is what a name in a folder says about a store there.
type FileKind int

const (
	ForeignFile FileKind = iota // nothing of a store's
	EarlyFile                   // may be there before a store is: its creation may have been interrupted
	ContentFile                 // comes when the store exists
)

// IsInnocent reports whether a name says nothing about what a folder is for: what is hidden
// (.gitkeep, .DS_Store, a NAS's .snapshot), and what file systems and NAS put into every folder
// of theirs.
func IsInnocent(name string) bool {
	switch name {
	case "lost+found", "@eaDir", "#snapshot", "#recycle", "System Volume Information", "$RECYCLE.BIN", "desktop.ini", "Thumbs.db":
		return true
	}
	return strings.HasPrefix(name, ".")
}

// OwnFiles are what sessiond itself puts into a folder beside what Pebble does.
var OwnFiles = map[string]bool{
	"LOCK": true, "reserve": true, "backup": true, "control.sock": true,
}

// KindOf tells the kinds apart. Pebble creates a store in this order: MANIFEST, its marker,
// other markers, OPTIONS. The log comes after them.
func KindOf(name string) FileKind {
	if IsLog(name) {
		return ContentFile
	}
	if IsInnocent(name) || OwnFiles[name] || strings.HasPrefix(name, BallastPrefix) || IsMarker(name) {
		return EarlyFile
	}
	kind, digits := ContentFile, ""
	switch ext := filepath.Ext(name); {
	case ext == ".log" || ext == ".sst":
		digits = strings.TrimSuffix(name, ext)
	case ext == ".dbtmp":
		digits = strings.TrimPrefix(strings.TrimSuffix(name, ext), "temporary.")
	case strings.HasPrefix(name, "MANIFEST-"):
		kind, digits = EarlyFile, strings.TrimPrefix(name, "MANIFEST-")
	case strings.HasPrefix(name, "OPTIONS-"):
		digits = strings.TrimPrefix(name, "OPTIONS-")
	}
	if _, err := strconv.ParseUint(digits, 10, 64); err != nil || len(digits) < numberWidth {
		return ForeignFile
	}
	return kind
}

// IsMarker reports whether a file says by its name which of Pebble's other files count.
func IsMarker(name string) bool { return strings.HasPrefix(name, "marker.") }

// numberWidth is how many digits a number in a name has at least.
const numberWidth = 6

// IsLog reports whether a name is of a file of the log.
func IsLog(name string) bool {
	_, ok := wal.Lookup(name)
	return ok
}

// MakesStore reports whether a name in a folder is of the file that makes it a store.
func MakesStore(name string) bool { return strings.HasPrefix(name, ManifestMarker) }

// IsManifest reports whether the path is of a list of tables.
func IsManifest(name string) bool { return strings.HasPrefix(filepath.Base(name), "MANIFEST-") }

// IsTable reports whether a name is of a table, which Pebble never changes once it is written.
func IsTable(name string) bool { return filepath.Ext(name) == ".sst" }
