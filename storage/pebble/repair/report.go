package repair

import (
	"cmp"
	"maps"
	"slices"

	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
)

// givenUpTexts say why a record was not saved.
var givenUpTexts = map[state]string{
	entryLost:   "its value can be read, its entry cannot",
	valueLost:   "its entry can be read, its value cannot",
	noEntry:     "there is a value and no entry",
	noValue:     "there is an entry and no value",
	undecodable: "its entry makes no sense",
	newerEntry:  "a newer version of sessiond wrote it: use that one to repair",
	resized:     "its value has another size than its entry says",
	misplaced:   "it lies where its name does not belong, where it could not be found and ended",
	badName:     "its key is too short",
}

const (
	adviceLogin = "its user has to log in again"
	adviceAlert = "consider to end all sessions of that time, or restore a backup"
)

func (r *repairer) noteLost(f *found, state state) {
	text := givenUpTexts[state]
	r.report.Halves++
	r.notes.add("record "+text, Problem{"session in " + r.head.positionText(f.place), text, adviceLogin})
}

// noteGaps reports what neither half could be read of.
func (r *repairer) noteGaps(entries, values []gap) {
	for _, g := range entries {
		r.notes.add("gap", r.head.gapProblem(g, "their entries cannot be read", "their users have to log in again"))
	}
	for _, g := range values {
		r.notes.add("gap", r.head.gapProblem(g, "their values cannot be read", "their users have to log in again"))
	}
}

// summarise fills in the report when everything is written.
func (r *repairer) summarise() {
	r.noteLogs()
	r.noteHead()
	r.report.GivenUp, _ = r.notes.list()
	wrong := false
	spaces := maps.Clone(r.saved)
	maps.Copy(spaces, r.head.Counts)
	for space := range spaces {
		d := RepairedDatabase{Database: int(r.head.DBs.Logical(space)), Saved: r.saved[space].Records, Counted: -1}
		if r.head.countsKnown {
			d.Counted = r.head.Counts[space].Records
			wrong = wrong || r.head.Counts[space] != r.saved[space]
		}
		if d.Saved != 0 || d.Counted > 0 {
			r.report.Databases = append(r.report.Databases, d)
		}
	}
	slices.SortFunc(r.report.Databases, func(a, b RepairedDatabase) int { return cmp.Compare(a.Database, b.Database) })
	if wrong && len(r.report.GivenUp) == 0 || !r.head.countsKnown {
		r.report.Renewed = append(r.report.Renewed, "the sizes of the databases were counted anew")
	}
}

func (r *repairer) noteLogs() {
	for _, p := range r.logProblems(adviceAlert) {
		r.notes.add("log", p)
	}
}

func (r *repairer) noteHead() {
	h := &r.head
	if !h.Knows(tree.DBs) {
		r.notes.add("head", Problem{
			"databases", "which of them were swapped cannot be read: all are as if none was",
			"if SWAPDB was ever used, restore a backup instead",
		})
	}
	if !h.Knows(tree.Seed) {
		r.report.Renewed = append(r.report.Renewed, "the key of the hash was lost and drawn anew: a SCAN under way begins again")
	}
}
