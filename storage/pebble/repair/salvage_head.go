package repair

import (
	"errors"
	"fmt"

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
)

// head is what exists once in a store, as far as it can be read.
type head struct {
	*tree.Head
	problems []Problem
	other    error // the store is of another format

	// They may be wrong although they can be read, if the log cannot.
	countsKnown, revisionKnown bool
}

// headParts say of each part of a head where it is reported, and what it is.
var headParts = []struct {
	part        tree.Part
	where, what string
}{
	{tree.Format, "format", "the version of the format"},
	{tree.Seed, "seed", "the key of the hash that gives each session its position"},
	{tree.Fence, "fence", "the time up to which ended sessions are swept"},
	{tree.Clock, "clock", "the time to which the clock had come"},
	{tree.Followed, "followed", "up to where the log was followed"},
	{tree.Revision, "revision", "the highest revision in use"},
}

// readHead reads the head and reports what of it cannot be used.
func (s *salvage) readHead() {
	h := &s.head
	h.Head = tree.ReadHead(s.db)
	if h.Knows(tree.Format) {
		h.other = layout.CheckFormat(h.Format)
	}
	for _, p := range headParts {
		var size *tree.SizeError
		switch err := h.Problems[p.part]; {
		case err == nil:
		case errors.Is(err, tree.ErrMissing):
			h.problem(p.where, p.what+" is missing")
		case errors.As(err, &size):
			h.problem(p.where, fmt.Sprintf("%s has %d bytes, not %d", p.what, size.Got, size.Want))
		default:
			h.problem(p.where, p.what+" cannot be read")
		}
	}
	switch err := h.Problems[tree.DBs]; {
	case errors.Is(err, tree.ErrSenseless):
		h.problem("databases", "two of them share their sessions, or one has none: the swaps make no sense")
	case err != nil:
		h.problem("databases", "which of them were swapped cannot be read: their sessions may show under another number")
	}
	if !h.Knows(tree.Counts) {
		h.problems = append(h.problems, Problem{"counters", "the sizes of the databases cannot be read", adviceRebuild})
	}
	h.countsKnown, h.revisionKnown = h.Knows(tree.Counts), h.Knows(tree.Revision)
}

func (h *head) problem(where, what string) {
	h.problems = append(h.problems, Problem{where, what, adviceRepair})
}
