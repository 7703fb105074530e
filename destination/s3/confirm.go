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
	"github.com/holdfast-dev/holdfast/destination/internal/portable"
	"github.com/holdfast-dev/holdfast/destination/internal/resume"
)

// tryChecksums finds out, once, whether the provider refuses an object with a wrong
// checksum. Some accept it and later say back what they were told; what they
// confirm is worth nothing.
func (d *driver) tryChecksums(ctx context.Context) error {
	d.checksums.Lock()
	defer d.checksums.Unlock()
	if d.checksums.verified != nil {
		return nil
	}
	sent, other := []byte("holdfast"), []byte("Holdfast")
	o, sum := minio.PutObjectOptions{DisableContentSha256: true}, ""
	if d.p.MD5 {
		wrong := md5.Sum(other) //nolint:gosec // as above
		sum = base64.StdEncoding.EncodeToString(wrong[:])
	} else {
		o.UserMetadata = map[string]string{headerSum: encode(crc64nvme.Checksum(other))}
	}
	name := d.prefix + "holdfast-probe-" + uuid.NewString()
	accepted := false
	err := d.do(ctx, 0, func(ctx context.Context) error {
		_, err := d.core.PutObject(ctx, d.bucket, name, bytes.NewReader(sent), int64(len(sent)), sum, "", o)
		if accepted = err == nil; isMismatch(err) {
			return nil
		}
		return err
	})
	if err == nil && accepted {
		err = d.do(ctx, 0, func(ctx context.Context) error {
			return d.core.RemoveObject(ctx, d.bucket, name, minio.RemoveObjectOptions{})
		})
	}
	if err == nil {
		verified := !accepted
		d.checksums.verified = &verified
	}
	return err
}

// Find implements [portable.Upload].
func (u *upload) Find(ctx context.Context) (portable.Object, error) {
	if u.version != "" || u.d.p.Conditional || !u.d.p.Versions {
		return u.d.statVersion(ctx, u.name, u.version)
	}
	all, err := u.d.versions(ctx, u.name)
	if err != nil {
		return portable.Object{}, err
	}
	for _, v := range all {
		if o, err := u.d.statVersion(ctx, u.name, v.VersionID); err == nil && o.Upload == u.tags.Upload {
			return o, nil
		}
	}
	return u.d.Stat(ctx, u.name)
}

// Confirm implements [portable.Upload].
func (u *upload) Confirm(ctx context.Context, o portable.Object, sums parts.Sums) error {
	if err := u.ensureSole(ctx, o); err != nil {
		return err
	}
	if *u.d.checksums.verified {
		switch {
		case u.d.p.MD5 && o.Checksum == u.etag.of(u.id != ""):
			return nil
		case !u.d.p.MD5 && o.Checksum == encode(sums.CRC64):
			return nil
		case !u.d.p.MD5 && o.Checksum != "":
			return fmt.Errorf("%w: CRC-64/NVME %s was sent, it has %s", destination.ErrCorrupt, encode(sums.CRC64), o.Checksum)
		}
	}
	return u.readBack(ctx, sums)
}

// soleTries is how often the oldest of several versions looks whether the others
// go away, with growing waits between: 6 s in all.
const soleTries = 6

// ensureSole makes sure that the object is alone at a provider that overwrites. Of
// several writers who see each other all but the oldest withdraw; the oldest does so
// too when another stays, since that one was alone when it looked.
func (u *upload) ensureSole(ctx context.Context, o portable.Object) error {
	if u.d.p.Conditional || !u.d.p.Versions || o.Version == "" {
		return nil
	}
	for try := range soleTries {
		all, err := u.d.versions(ctx, u.name)
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(v minio.ObjectInfo) bool { return v.IsDeleteMarker })
		if len(all) == 0 || all[len(all)-1].VersionID != o.Version {
			break
		}
		if len(all) == 1 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond << try):
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTimeout)
	defer cancel()
	return errors.Join(destination.ErrExist, u.Remove(ctx, o))
}

// withdrawTimeout is how long a writer that is not alone tries to remove its object.
const withdrawTimeout = 30 * time.Second

// Remove implements [portable.Upload].
func (u *upload) Remove(ctx context.Context, o portable.Object) error {
	version := o.Version
	if version == "" {
		version = u.version
	}
	return u.d.do(ctx, 0, func(ctx context.Context) error {
		return u.d.core.RemoveObject(ctx, u.d.bucket, u.name, minio.RemoveObjectOptions{VersionID: version})
	})
}

// readBack reads the whole object, of which the provider cannot be believed or
// does not say the checksum.
func (u *upload) readBack(ctx context.Context, sums parts.Sums) error {
	r, err := resume.Resumer{
		Policy: u.d.retry, Retryable: u.d.Retryable, Explain: func(err error) error { return err },
		Open: func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
			return u.d.OpenRange(ctx, u.name, offset, length)
		},
	}.Range(ctx, 0, -1)
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
