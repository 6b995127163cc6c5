package apiserver

import (
	"encoding/binary"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/apierr"
)

func (s *server) logs(w http.ResponseWriter, r *http.Request) {
	options, err := logOptions(r.URL.Query())
	if err != nil {
		writeError(w, err)
		return
	}
	out := &logWriter{w: w}
	err = s.backend.Logs(r.Context(), r.PathValue("ref"), options,
		streamWriter{out, api.StreamStdout}, streamWriter{out, api.StreamStderr})
	switch {
	case err == nil:
	case out.begun:
		w.Header().Set(http.TrailerPrefix+api.ErrorTrailer, err.Error())
	default:
		writeError(w, err)
	}
}

func logOptions(query url.Values) (api.LogOptions, error) {
	o := api.LogOptions{Follow: query.Get("follow") == "true", Timestamps: query.Get("timestamps") == "true", Tail: -1}
	for name, bound := range map[string]*time.Time{"since": &o.Since, "until": &o.Until} {
		text := query.Get(name)
		if text == "" {
			continue
		}
		var err error
		if *bound, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return o, apierr.BadParameter("%s=%q is not a time as in RFC 3339", name, text)
		}
	}
	tail := query.Get("tail")
	if tail == "" || tail == "all" {
		return o, nil
	}
	lines, err := strconv.Atoi(tail)
	if err != nil || lines < 0 {
		return o, apierr.BadParameter("tail=%q is neither a number of lines nor all", tail)
	}
	o.Tail = lines
	return o, nil
}

// logWriter flushes every piece, so that followers see it at once.
type logWriter struct {
	w     http.ResponseWriter
	begun bool
}

type streamWriter struct {
	out    *logWriter
	stream byte
}

func (s streamWriter) Write(piece []byte) (int, error) {
	s.out.begun = true
	header := [api.StreamHeader]byte{0: s.stream}
	binary.BigEndian.PutUint32(header[4:], uint32(len(piece)))
	if _, err := s.out.w.Write(header[:]); err != nil {
		return 0, err
	}
	n, err := s.out.w.Write(piece)
	_ = http.NewResponseController(s.out.w).Flush()
	return n, err
}
