package node

import (
	"cmp"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strconv"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/dax/wire"
)

// endpoints answers with the nodes of the cluster: this one, and those of other servers.
func (c *conn) endpoints(*wire.Reader) error {
	local, ok := c.net.LocalAddr().(*net.TCPAddr)
	if !ok {
		return awserr.Internal(errors.New("no TCP address"))
	}
	same := func(other net.IP) bool { return (other.To4() == nil) == (local.IP.To4() == nil) } // clients want the address family by which they came
	own := endpoint{local.IP.String(), local.IP, cmp.Or(c.node.opt.AdvertisePort, local.Port)}
	if c.node.opt.Advertise != "" {
		var err error
		if own, err = c.resolve(net.JoinHostPort(c.node.opt.Advertise, strconv.Itoa(own.port)), same); err != nil {
			return awserr.Internal(err)
		}
	}
	var others []endpoint
	if c.node.opt.Others != nil {
		_, encrypted := c.net.(*tls.Conn)
		for _, address := range c.node.opt.Others(encrypted) {
			if e, err := c.resolve(address, same); err == nil { // an unresolvable node can't be reached, so clients do without it
				others = append(others, e)
			}
		}
	}
	c.out = wire.AppendArray(c.out, 1+len(others))
	c.endpoint(own, 1)
	for i, e := range others {
		c.endpoint(e, i+2)
	}
	return nil
}

// endpoint is where a node listens.
type endpoint struct {
	host string
	ip   net.IP
	port int
}

// resolve looks up "host:port", and prefers an address that wanted accepts.
func (c *conn) resolve(address string, wanted func(net.IP) bool) (e endpoint, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return e, err
	}
	found, err := net.DefaultResolver.LookupIP(c.ctx, "ip", host)
	if err != nil {
		return e, err
	}
	number, err := strconv.Atoi(port)
	return endpoint{host, found[max(0, slices.IndexFunc(found, wanted))], number}, err
}

// endpoint appends the description of a node.
func (c *conn) endpoint(e endpoint, id int) {
	if four := e.ip.To4(); four != nil {
		e.ip = four
	}
	role := int64(2)
	if id == 1 {
		role = 1 // the leader; the other role, 2, is a replica
	}
	out := wire.BeginMap(c.out)
	out = wire.AppendInt(wire.AppendInt(out, 0), int64(id))
	out = wire.AppendText(wire.AppendInt(out, 1), e.host)
	out = wire.AppendBytes(wire.AppendInt(out, 2), e.ip)
	out = wire.AppendInt(wire.AppendInt(out, 3), int64(e.port))
	out = wire.AppendInt(wire.AppendInt(out, 4), role)
	out = wire.AppendText(wire.AppendInt(out, 5), c.caller.Region+"a")
	out = wire.AppendInt(wire.AppendInt(out, 6), c.node.session)
	c.out = wire.AppendEnd(out)
}

// defineKeySchema answers with a table's key attributes and their types.
func (c *conn) defineKeySchema(r *wire.Reader) error {
	name := r.Bytes()
	if r.Err() != nil {
		return r.Err()
	}
	t, err := c.table(name)
	var known *awserr.Error
	if errors.As(err, &known) && known.Code == awserr.ResourceNotFound {
		return &wireError{err: known, codes: noSchema}
	}
	if err != nil {
		return err
	}
	c.out = wire.AppendMap(c.out, len(t.schema))
	for _, a := range t.schema {
		c.out = wire.AppendText(wire.AppendText(c.out, a.Name), a.Type.String())
	}
	return nil
}

// defineAttributeListID answers with the id of an attribute list.
func (c *conn) defineAttributeListID(r *wire.Reader) error {
	var names [][]byte
	r.SkipTag()
	for n, size := r.Array(), 0; r.Next(&n); {
		name := r.Text()
		if size += 1 + len(name); size > attribute.MaxItemSize {
			return awserr.ItemTooLarge()
		}
		names = append(names, name)
	}
	if r.Err() != nil {
		return r.Err()
	}
	id, err := c.lists.define(c.ctx, names)
	c.out = wire.AppendInt(c.out, id)
	return err
}

// defineAttributeList answers with the attribute list that has an id.
func (c *conn) defineAttributeList(r *wire.Reader) error {
	id := r.Int()
	if r.Err() != nil {
		return r.Err()
	}
	list, err := c.lists.list(c.ctx, id)
	if err != nil {
		return err
	}
	c.out = wire.AppendArray(c.out, len(list.Names))
	for _, name := range list.Names {
		c.out = wire.AppendText(c.out, name)
	}
	return nil
}
