package s3

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what providers check
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/minio/crc64nvme"
	"github.com/minio/minio-go/v7"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/parts"
)

// probe finds out, once, whether the provider refuses an object with a wrong
// checksum. Some accept it and later say back what they were told; what they
// confirm is worth nothing.
func (s *Store) probe(ctx context.Context) error {
	s.trial.Lock()
	defer s.trial.Unlock()
	if s.trial.verifies != nil {
		return nil
	}
	sent, other := []byte("holdfast"), []byte("Holdfast")
	o, sum := minio.PutObjectOptions{DisableContentSha256: true}, ""
	if s.p.MD5 {
		wrong := md5.Sum(other) //nolint:gosec // as above
		sum = base64.StdEncoding.EncodeToString(wrong[:])
	} else {
		o.UserMetadata = map[string]string{headerSum: encode(crc64nvme.Checksum(other))}
	}
	name := s.name("holdfast-probe-" + uuid.NewString())
	accepted := false
	err := s.do(ctx, 0, func(ctx context.Context) error {
		_, err := s.core.PutObject(ctx, s.bucket, name, bytes.NewReader(sent), int64(len(sent)), sum, "", o)
		if accepted = err == nil; isMismatch(err) {
			return nil
		}
		return err
	})
	if err == nil && accepted {
		err = s.do(ctx, 0, func(ctx context.Context) error {
			return s.core.RemoveObject(ctx, s.bucket, name, minio.RemoveObjectOptions{})
		})
	}
	if err == nil {
		verifies := !accepted
		s.trial.verifies = &verifies
	}
	return err
}

// confirm compares what the provider says of the object with what was sent, and
// removes the object when they differ.
func (u *upload) confirm(ctx context.Context, sums parts.Sums) error {
	st, err := u.own(ctx)
	if err == nil {
		err = u.first(ctx, st)
	}
	if err == nil {
		err = u.compare(ctx, st, sums)
	}
	if err != nil && !errors.Is(err, destination.ErrExist) && ctx.Err() == nil {
		if st.VersionID == "" {
			st.VersionID = u.version
		}
		err = errors.Join(err, u.remove(ctx, st.VersionID))
	}
	return err
}

// find returns what the provider says of the object. Where others may have put
// theirs over it, it is looked for among all versions.
func (u *upload) find(ctx context.Context) (minio.ObjectInfo, error) {
	if u.version != "" || u.s.p.Conditional || !u.s.p.Versions {
		return u.s.statVersion(ctx, u.key, u.version)
	}
	all, err := u.s.versions(ctx, u.s.name(u.key))
	if err != nil {
		return minio.ObjectInfo{}, err
	}
	for _, v := range all {
		if st, err := u.s.statVersion(ctx, u.key, v.VersionID); err == nil && meta(st, metaUpload) == u.token {
			return st, nil
		}
	}
	return u.s.stat(ctx, u.key)
}

// asks is how often the provider is asked for an object that it does not know.
const asks = 3

// own returns what the provider says of the object. It returns ErrExist when
// somebody else has replaced it.
func (u *upload) own(ctx context.Context) (st minio.ObjectInfo, err error) {
	for range asks {
		st, err = u.find(ctx)
		if err != nil && !isMissing(err) {
			return st, fmt.Errorf("ask for what was stored: %w", err)
		}
		if err == nil && meta(st, metaUpload) == u.token {
			return st, nil
		}
	}
	if err == nil && meta(st, metaUpload) != "" {
		return st, destination.ErrExist
	}
	return st, fmt.Errorf("%w: the upload was answered with success, but the object is not there", destination.ErrCorrupt)
}

// firstLooks is how often the oldest of several versions looks whether the others
// go away, with growing waits between: 6 s in all.
const firstLooks = 6

// first makes sure that the object is alone at a provider that overwrites. Of
// several writers who see each other all but the oldest withdraw; the oldest does so
// too when another stays, since that one was alone when it looked.
func (u *upload) first(ctx context.Context, st minio.ObjectInfo) error {
	if u.s.p.Conditional || !u.s.p.Versions || st.VersionID == "" {
		return nil
	}
	for look := range firstLooks {
		all, err := u.s.versions(ctx, u.s.name(u.key))
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(v minio.ObjectInfo) bool { return v.IsDeleteMarker })
		if len(all) == 0 || all[len(all)-1].VersionID != st.VersionID {
			break
		}
		if len(all) == 1 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond << look):
		}
	}
	return errors.Join(destination.ErrExist, u.remove(ctx, st.VersionID))
}

func (u *upload) remove(ctx context.Context, version string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortWait)
	defer cancel()
	return u.s.do(ctx, 0, func(ctx context.Context) error {
		return u.s.core.RemoveObject(ctx, u.s.bucket, u.s.name(u.key), minio.RemoveObjectOptions{VersionID: version})
	})
}

// compare returns ErrCorrupt when the stored object is another than was sent.
func (u *upload) compare(ctx context.Context, st minio.ObjectInfo, sums parts.Sums) error {
	if st.Size != sums.Size {
		return fmt.Errorf("%w: %d bytes were sent, it has %d", destination.ErrCorrupt, sums.Size, st.Size)
	}
	if *u.s.trial.verifies {
		switch {
		case u.s.p.MD5 && st.ETag == u.etag.of(u.id != ""):
			return nil
		case !u.s.p.MD5 && st.ChecksumCRC64NVME == encode(sums.CRC64):
			return nil
		case !u.s.p.MD5 && st.ChecksumCRC64NVME != "":
			return fmt.Errorf("%w: CRC-64/NVME %s was sent, it has %s", destination.ErrCorrupt, encode(sums.CRC64), st.ChecksumCRC64NVME)
		}
	}
	return u.readBack(ctx, sums)
}

// readBack reads the whole object, of which the provider cannot be believed or
// does not say the checksum.
func (u *upload) readBack(ctx context.Context, sums parts.Sums) error {
	r, err := u.s.Open(ctx, u.key, 0, -1)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // a reader
	h := sha256.New()
	if _, err := io.CopyBuffer(h, r, make([]byte, 256<<10)); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sums.SHA256 {
		return fmt.Errorf("%w: SHA-256 %s was sent, %s was read back", destination.ErrCorrupt, sums.SHA256, got)
	}
	return nil
}
