package hostnet

// NewWatcherWithBuffer is NewWatcher with a receive buffer of that many bytes.
var NewWatcherWithBuffer = newWatcher
