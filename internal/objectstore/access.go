package objectstore

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
)

// Access says which buckets accounts may use besides those that they have made.
type Access interface {
	MayUse(account, bucket string) bool
}

// Use is a request to use a bucket.
type Use struct {
	Account string // the account that uses it
	Bucket  string
	Owner   string // the account that must own the bucket; "" for any ("S3BucketOwner")
	Write   bool   // objects are put into it; if it does not exist, it is made where the store can
}

// For returns the store for a use of a bucket, or ErrAccess. A nil Access lets every account use every bucket.
//
// A bucket of a Folder belongs to the account that made it. A bucket without an owner, made by the operator or by a
// server that did not tell accounts apart, is only for accounts that access grants it to; so is every bucket of other
// stores.
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

// check makes the bucket if that is needed and allowed, and returns ErrAccess if the account may not use it.
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

// owners is the directory of files that record which account made each bucket, by the names of buckets. No bucket can
// have this name.
const owners = ".owners"

// Owner returns the account that made a bucket; "" if it was not made for an account; ErrNoBucket if it does not exist.
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

// make makes a bucket for an account, and returns its owner, which is another account if that one made it first.
func (f *Folder) make(bucket, account string) (owner string, err error) {
	root, err := f.open()
	if err != nil {
		return "", err
	}
	if err := errors.Join(root.MkdirAll(owners, 0o700), root.MkdirAll(incoming, 0o700)); err != nil {
		return "", err
	}
	// Record the owner durably before the bucket exists. Linking fails if another account has already done so.
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
