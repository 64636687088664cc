package enginetest

import "slices"

// maxReplays bounds the work of shrink.
const maxReplays = 400

// shrink leaves out steps, and then calls inside of steps, as long as what is left still
// fails. It returns the shortest sequence it found and how that fails.
func shrink(steps []step, err error, replay func([]step) (int, error)) ([]step, error) {
	tries := 0
	stillFails := func(candidate []step) bool {
		if tries++; tries > maxReplays {
			return false
		}
		done, failure := replay(candidate)
		if failure == nil {
			return false
		}
		steps, err = candidate[:done+1], failure
		return true
	}
	for size := len(steps) / 2; size > 0; size /= 2 {
		for i := 0; i+size <= len(steps); {
			if !stillFails(slices.Delete(slices.Clone(steps), i, i+size)) {
				i += size
			}
		}
	}
	for i := 0; i < len(steps); i++ {
		for j := 0; i < len(steps) && j < len(steps[i].ops); {
			candidate := slices.Clone(steps)
			candidate[i].ops = slices.Delete(slices.Clone(steps[i].ops), j, j+1)
			if !stillFails(candidate) {
				j++
			}
		}
	}
	return steps, err
}
