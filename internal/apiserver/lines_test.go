package apiserver

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/apierr"
)

// dropper is a backend whose drops the test makes.
type dropper struct {
	recorder
	stream Stream[api.Drop]
}

func (d *dropper) WatchDrops(_ context.Context, o api.DropOptions) (Stream[api.Drop], error) {
	return d.stream, d.note("drops", o)
}

func TestWatchDrops(t *testing.T) {
	t.Parallel()
	b := &dropper{}
	client := api.NewClient(serve(t, b))
	watch := func(ctx context.Context) (seen []string, err error) {
		err = client.WatchDrops(ctx, api.DropOptions{Reasons: []string{"a", "b"}, Container: "net 00"}, func(d api.Drop) error {
			seen = append(seen, d.Reason)
			return nil
		})
		return seen, err
	}
	two := func(emit func(api.Drop) error) error {
		return errors.Join(emit(api.Drop{Reason: "one"}), emit(api.Drop{Reason: "two"}))
	}
	for what, c := range map[string]struct {
		stream Stream[api.Drop]
		says   error
	}{
		"the daemon stops": {two, api.ErrWatchEnded},
		"the daemon dies":  {func(emit func(api.Drop) error) error { _ = two(emit); panic(http.ErrAbortHandler) }, api.ErrWatchEnded},
		"the watch failed": {func(emit func(api.Drop) error) error { return errors.Join(two(emit), errors.New("the ring is broken")) }, apierr.Internal("the ring is broken")},
	} {
		b.stream = c.stream
		seen, err := watch(t.Context())
		if strings.Join(seen, " ") != "one two" || err == nil || err.Error() != c.says.Error() {
			t.Errorf("%s: saw %v, then %v", what, seen, err)
		}
		if want := []any{"drops", api.DropOptions{Reasons: []string{"a", "b"}, Container: "net 00"}}; !reflect.DeepEqual(b.asked, want) {
			t.Errorf("asked %v, want %v", b.asked, want)
		}
	}

	ctx, interrupt := context.WithCancel(t.Context())
	left := make(chan struct{})
	b.stream = func(emit func(api.Drop) error) error {
		defer close(left)
		for { // until the client is gone
			if err := emit(api.Drop{}); err != nil {
				return err
			}
			interrupt()
		}
	}
	if _, err := watch(ctx); err != nil {
		t.Errorf("interrupted: %v", err)
	}
	<-left

	b.fails = apierr.BadParameter("no such reason")
	if _, err := watch(t.Context()); err == nil || err.Error() != "no such reason" {
		t.Errorf("refused: %v", err)
	}
}
