package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-net/sluice/internal/api"
)

func newLogs(env *Env) *cobra.Command {
	var o api.LogOptions
	var tail, since, until string
	c := &cobra.Command{
		Use:   "logs CONTAINER",
		Short: "Print what a container has said",
		Args:  exactly(1, "one container"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			o.Tail = -1
			if tail != "all" {
				if _, err := fmt.Sscan(tail, &o.Tail); err != nil || o.Tail < 0 {
					return fmt.Errorf("--tail %q is neither a number of lines nor all", tail)
				}
			}
			if o.Since, err = moment("--since", since); err != nil {
				return err
			}
			if o.Until, err = moment("--until", until); err != nil {
				return err
			}
			return env.client().Logs(c.Context(), args[0], o, env.Stdout, env.Stderr)
		},
	}
	f := c.Flags()
	f.BoolVarP(&o.Follow, "follow", "f", false, "go on until the container ends")
	f.BoolVarP(&o.Timestamps, "timestamps", "t", false, "put the time before each line")
	f.StringVar(&since, "since", "", "lines from then on: 2026-01-02T15:04:05Z, seconds since 1970, or 10m for ten minutes ago")
	f.StringVar(&until, "until", "", "lines before then, written alike")
	f.StringVarP(&tail, "tail", "n", "all", "lines from the end")
	return c
}

// moment reads a point in time, as Docker's flags have it; "" is no time.
func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil {
		return time.Now().Add(-ago), nil
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		return time.UnixMicro(int64(seconds * 1e6)), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s %q is neither a time, nor seconds since 1970, nor how long ago", flag, text)
}
