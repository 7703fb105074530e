// Package archive writes and reads Holdfast's archives. FORMAT.md beside it is
// the specification; it is exact enough to write a reader in another language.
//
// # Vocabulary
//
// An archive is one .tar.gz made of many gzip members, so that compression runs
// on all cores and a part can be fetched alone by its byte range. An entry is a
// file, a folder or a link in it. Entries belong to a part, such as "database" or
// "storage", which is also the first component of their names. The index is the
// list of the entries of a part with their sums; the manifest, last in the
// archive, says where each part lies and what its index hashes to.
//
// # Errors
//
// A reader trusts nothing that it reads. What does not follow the format, does
// not match its sums or ends early is [ErrCorrupt]; what could harm whoever
// extracts it is [ErrUnsafe]; what a later version of the format wrote is
// [ErrVersion]. Errors of the underlying reader are passed on as they are. No
// buffer is ever sized by a number that stands in an archive.
package archive
