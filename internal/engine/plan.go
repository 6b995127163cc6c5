package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// step is one change. do and undo can both be repeated, and undo may come
// after a do that failed half way. A nil undo is for what a later undo covers.
type step struct {
	name string
	do   func() error
	undo func() error
}

// plan is a list of steps in the order in which they are taken.
type plan []step

// apply takes the steps. At the first error, or when ctx ends, it takes back
// that step and all before it in reverse order, logs what could not be taken
// back, and returns the error.
func (p plan) apply(ctx context.Context, log *slog.Logger) error {
	for i, s := range p {
		err := ctx.Err()
		if err == nil {
			err = s.do()
		}
		if err == nil {
			continue
		}
		log.Debug("unwinding", "step", s.name, "error", err)
		if undoErr := p[:i+1].unwind(); undoErr != nil {
			log.Error("not everything could be taken back", "failed", s.name, "error", undoErr)
		}
		return err
	}
	return nil
}

// unwind takes every step back in reverse order. It goes on after errors and
// returns all of them.
func (p plan) unwind() error {
	var errs []error
	for i := len(p) - 1; i >= 0; i-- {
		if p[i].undo == nil {
			continue
		}
		if err := p[i].undo(); err != nil {
			errs = append(errs, fmt.Errorf("undo %q: %w", p[i].name, err))
		}
	}
	return errors.Join(errs...)
}

// teardown takes a plan back whose first step is the record of the intent. The
// record stays when anything else could not be taken back, so that the verb
// can be repeated.
func (p plan) teardown() error {
	if err := p[1:].unwind(); err != nil {
		return err
	}
	return p[:1].unwind()
}
