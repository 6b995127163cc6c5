package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultAddress is where /metrics is without a wish: for this host alone.
const DefaultAddress = "127.0.0.1:9477"

// Off is the address of who wants no metrics.
const Off = "off"

// ParseAddress checks an address to listen on, HOST:PORT. "" and "off" are
// none, and give "".
func ParseAddress(text string) (string, error) {
	if text == "" || text == Off {
		return "", nil
	}
	host, port, err := net.SplitHostPort(text)
	if err == nil && host != "" && net.ParseIP(host) == nil {
		err = errors.New("the host is no IP address")
	}
	if number, e := strconv.ParseUint(port, 10, 16); err == nil && (e != nil || number == 0) {
		err = errors.New("the port is no number from 1 to 65535")
	}
	if err != nil {
		return "", fmt.Errorf("invalid address %q for metrics: write it as ADDRESS:PORT, for example %s, or %s", text, DefaultAddress, Off)
	}
	return text, nil
}

// Listen opens the address of ParseAddress.
func Listen(address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, fmt.Errorf("metrics: another program listens on %s: choose another address with --metrics ADDRESS:PORT, or --metrics %s", address, Off)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return nil, fmt.Errorf("metrics: no device of the host that is up has the address of %s: choose another with --metrics ADDRESS:PORT, or --metrics %s", address, Off)
	case err != nil:
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return listener, nil
}

// Limits on clients. A scrape of an instance that is full takes well below a
// second, so whoever is slower is not reading.
const (
	headerTimeout = 5 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 3 * time.Minute // longer than scrapes are apart
	headerBytes   = 16 << 10
)

// Serve answers on the listener until ctx ends. An error means that it could
// not go on.
func (m *Metrics) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           m.Handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytes,
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}
