package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/shim"
	"github.com/sluice-net/sluice/internal/unixpath"
)

// client is one connection to the shim's socket.
type client struct {
	socket   *os.File
	attached bool // wants output
}

// send writes a frame. It waits for a client that is slow, as a pipe does, and
// the reader notices one that is gone.
func (c *client) send(kind shim.FrameType, payload []byte) {
	_, _ = c.socket.Write(shim.AppendFrame(nil, kind, payload))
}

// listen opens the socket. The runtime's poller carries what it accepts;
// package net would cost every container a megabyte.
func listen(path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	err = unixpath.Use(path, func(path string) error { return unix.Bind(fd, &unix.SockaddrUnix{Name: path}) })
	if err != nil {
		return 0, fmt.Errorf("bind %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return 0, err
	}
	return fd, unix.Listen(fd, 16)
}

func (k *keeper) accept(listener int) {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "sluice-shim: accept:", err)
			return
		}
		c := &client{socket: os.NewFile(uintptr(fd), "client")}
		k.add(c)
		go k.serve(c)
	}
}

func (k *keeper) add(c *client) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.clients[c] = true
	if k.pid != 0 {
		c.send(shim.FrameStarted, pidPayload(k.pid))
	}
}

// drop forgets a client; k.mu is held.
func (k *keeper) drop(c *client) {
	delete(k.clients, c)
	_ = c.socket.Close()
}

// serve does what a client asks until it is gone.
func (k *keeper) serve(c *client) {
	for {
		kind, payload, err := shim.ReadFrame(c.socket)
		if err != nil {
			break
		}
		switch kind {
		case shim.FrameAttach:
			k.mu.Lock()
			c.attached = true
			k.mu.Unlock()
		case shim.FrameGo:
			k.starter.Do(func() { close(k.start) })
		case shim.FrameStdin:
			k.feed(payload)
		case shim.FrameStdinClose:
			k.closeStdin()
		case shim.FrameSignal:
			if len(payload) == 1 {
				k.signal(payload[0])
			}
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop(c)
}
