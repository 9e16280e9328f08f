package objectstore

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
)

// Access says which buckets accounts may use, beside those that they have made.
type Access interface {
	MayUse(account, bucket string) bool
}

// Use is a use of a bucket.
type Use struct {
	Account string // that uses it
	Bucket  string
	Owner   string // the account that is expected to own the bucket; "" for any ("S3BucketOwner")
	Write   bool   // objects are put into it, and it is made if it does not exist and the store can
}

// For returns the store for a use of a bucket, or ErrAccess. Without an Access every account may use every bucket.
//
// A bucket of a Folder belongs to the account that made it. One that has no owner, because the operator made it, or a server that did
// not tell accounts apart, is for the accounts alone that access gives it to; so is every bucket of another store.
func For(s Store, access Access, u Use) (Store, error) {
	if remote, ok := s.(*S3); ok {
		if access != nil && !access.MayUse(u.Account, u.Bucket) {
			return nil, ErrAccess
		}
		return remote.expecting(u.Owner), nil
	}
	folder, ok := s.(*Folder)
	if !ok || access == nil {
		return s, nil
	}
	return s, folder.check(access, u)
}

func (f *Folder) check(access Access, u Use) error {
	owner, err := f.Owner(u.Bucket)
	if errors.Is(err, ErrNoBucket) && u.Write && (u.Owner == "" || u.Owner == u.Account) {
		owner, err = f.make(u.Bucket, u.Account)
	}
	if err != nil {
		return err
	}
	may := func(account string) bool { return owner != "" && account == owner || access.MayUse(account, u.Bucket) }
	if !may(u.Account) || u.Owner != "" && u.Owner != owner && (owner != "" || !may(u.Owner)) {
		return ErrAccess
	}
	return nil
}

// owners is the directory of files that have the names of buckets and say which account made them; no bucket can have its name.
const owners = ".owners"

// Owner returns the account that made a bucket, "" for a bucket that was not made for an account, and ErrNoBucket.
func (f *Folder) Owner(bucket string) (account string, err error) {
	root, _, err := f.find(bucket, "any")
	if err != nil {
		return "", err
	}
	raw, err := root.ReadFile(owners + "/" + bucket)
	if err == nil {
		return strings.TrimSpace(string(raw)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if _, err := root.Lstat(bucket); err != nil {
		return "", f.explain(root, bucket, err)
	}
	return "", nil
}

// make makes a bucket for an account, and returns the account that it was made for, if another was faster.
func (f *Folder) make(bucket, account string) (owner string, err error) {
	root, err := f.open()
	if err != nil {
		return "", err
	}
	if err := errors.Join(root.MkdirAll(owners, 0o700), root.MkdirAll(incoming, 0o700)); err != nil {
		return "", err
	}
	// The owner is known, and durable, before there is a bucket.
	temp := fmt.Sprintf("%s/%016x", incoming, rand.Uint64())
	w, err := newFolderWriter(root, temp, owners+"/"+bucket)
	if err != nil {
		return "", err
	}
	defer w.Abort()
	if _, err := w.Write([]byte(account + "\n")); err != nil {
		return "", err
	}
	if _, err := w.finish(root.Link); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	if err := root.Mkdir(bucket, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return f.Owner(bucket)
}
