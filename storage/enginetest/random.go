package enginetest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// defaultSteps is about two seconds of work for an engine on disk.
const defaultSteps = 1500

// RunModel does random things to an engine and to NewModel and compares every answer and,
// after each step, every record. A failure is reported with the seed and with the shortest
// sequence of steps that still shows it.
//
// A seed of zero means $ENGINETEST_SEED, or a random one; zero steps mean
// $ENGINETEST_STEPS, or 1500.
func RunModel(t *testing.T, f Factory, seed uint64, steps int) {
	t.Helper()
	if seed == 0 {
		seed = fromEnv(t, "ENGINETEST_SEED", rand.Uint64())
	}
	if steps == 0 {
		steps = int(fromEnv(t, "ENGINETEST_STEPS", defaultSteps))
	}
	t.Logf("ENGINETEST_SEED=%d ENGINETEST_STEPS=%d", seed, steps)
	sequence := (&planner{rand.New(rand.NewPCG(seed, 0)), 100, keepsElements(t, f)}).plan(steps)
	done, err := replay(t, f, sequence)
	if err == nil {
		return
	}
	short, shortErr := shrink(sequence[:done+1], err, func(candidate []step) (int, error) {
		return replay(t, f, candidate)
	})
	t.Errorf("step %d of seed %d: %v\n%d steps are enough: %v\n%s",
		done, seed, err, len(short), shortErr, describe(short))
}

func fromEnv(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		t.Fatalf("%s=%q is not a number: %v", name, text, err)
	}
	return n
}
