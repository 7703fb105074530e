// Package testenv starts real servers for tests: PostgreSQL with a realistic
// Supabase project in it, clusters of NATS, and the servers that stand for cloud
// destinations, with proxies before them that are as strict as the providers or
// that fail at a chosen call.
//
// A server that a test asks for and that is not installed fails the test with
// the command that installs it; nothing is skipped in silence. Child processes
// die with the test binary, even when that is killed.
package testenv
