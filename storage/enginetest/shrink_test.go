package enginetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// lazy is an engine with a bug: its Sweep removes nothing.
type lazy struct{ storage.Engine }

func (lazy) Sweep(context.Context, ttl.Instant, int) (int, ttl.Instant, error) {
	return 0, ttl.Never, nil
}

// Ensure that a random run catches an engine with a bug and that the report is short: one
// record and one sweep are enough here.
func TestShrink_BrokenEngine(t *testing.T) {
	t.Parallel()
	f := Factory{Open: func(testing.TB) storage.Engine { return lazy{NewModel()} }}
	steps := (&planner{rand.New(rand.NewPCG(1, 0)), 100, true}).plan(300)
	done, err := replay(t, f, steps)
	if err == nil {
		t.Fatal("300 random steps do not find out that Sweep removes nothing")
	}
	short, err := shrink(steps[:done+1], err, func(candidate []step) (int, error) { return replay(t, f, candidate) })
	if len(short) != 2 || short[0].verb != "update" || len(short[0].ops) != 1 || short[1].verb != "sweep" {
		t.Errorf("shortest sequence is\n%swant one update of one call and one sweep", describe(short))
	}
	if err == nil || !strings.Contains(describe(short), "sweep at") {
		t.Errorf("error = %v, steps described as %q", err, describe(short))
	}
}

// Ensure that shrink leaves out all that is not needed and keeps what fails.
func TestShrink(t *testing.T) {
	t.Parallel()
	steps := make([]step, 100)
	for i := range steps {
		steps[i] = step{verb: "sweep", budget: i}
	}
	errBoth := errors.New("13 and 77")
	short, err := shrink(steps, errBoth, func(candidate []step) (int, error) {
		seen := map[int]bool{}
		for i, s := range candidate {
			if seen[s.budget] = true; seen[13] && seen[77] {
				return i, errBoth
			}
		}
		return len(candidate), nil
	})
	if len(short) != 2 || short[0].budget != 13 || short[1].budget != 77 || !errors.Is(err, errBoth) {
		t.Errorf("shrink = %v, %v; want 13 and 77", short, err)
	}
}

// Ensure that two runs of one plan are the same run, so that a seed tells everything.
func TestPlan_Repeats(t *testing.T) {
	t.Parallel()
	plan := func() string { return describe((&planner{rand.New(rand.NewPCG(7, 0)), 100, true}).plan(200)) }
	if first, second := plan(), plan(); first != second {
		t.Error("one seed makes two plans")
	}
}
