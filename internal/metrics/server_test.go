package metrics

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "off": "", DefaultAddress: DefaultAddress, ":9477": ":9477", "[::1]:9477": "[::1]:9477",
	} {
		if got, err := ParseAddress(text); err != nil || got != want {
			t.Errorf("ParseAddress(%q) = %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"9477", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:http", "example.com:9477", "on"} {
		if _, err := ParseAddress(text); err == nil || !strings.Contains(err.Error(), DefaultAddress) {
			t.Errorf("ParseAddress(%q): %v", text, err)
		}
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	addr := first.Addr().String()
	if _, err := Listen(addr); err == nil || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "--metrics") {
		t.Errorf("listening twice: %v", err)
	}
}

func TestServeUntilTold(t *testing.T) {
	t.Parallel()
	m := newFake(&fakeDatapath{}, &fakeEngine{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Serve(ctx, listener) }()

	// A request whose header is too long is refused before it is all read.
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		_, _ = conn.Write([]byte("GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10)))
	}()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a long header: %v, %v", response, err)
	}

	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve ended by %v", err)
	}
	// Somebody else may have the port by now, so it is not asked.
	if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("still listens: %v", err)
	}
}
