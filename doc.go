// Package holdfast is the root of the workspace; see README.md for the map.
package holdfast
