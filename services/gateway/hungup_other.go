//go:build !linux

package gateway

// hungUp reports nothing here: a request of a client that has left waits until its limit.
func hungUp(uintptr) bool { return false }
