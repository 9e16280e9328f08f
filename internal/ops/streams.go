package ops

import (
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/stream"
)

// stream returns the stream with the ARN that a request or its iterator names.
func (s *Service) stream(req *Request, arn string) (*catalog.StreamRef, error) {
	r, err := s.resolve(req, req.resource(kindStream, arn))
	if err != nil {
		return nil, err
	}
	if ref := s.Tables.Catalog.Stream(r.ARN()); ref != nil {
		return ref, nil
	}
	return nil, streamNotFound(arn)
}

func streamNotFound(arn string) error {
	return awserr.New(awserr.ResourceNotFound, "Requested resource not found: Stream: "+arn+" not found")
}

func (s *Service) streams() *stream.Reader { return &stream.Reader{KV: s.Tables.KV, Now: s.Now} }

func shardNotFound(r *catalog.StreamRef, shard string) error {
	return awserr.New(awserr.ResourceNotFound, "Requested resource not found: Shard: "+shard+" in Stream: "+r.ARN()+" not found")
}

func trimmed() error {
	return awserr.New(awserr.TrimmedDataAccess, "The operation attempted to read past the oldest stream record in a shard.")
}

// maxStreamPage is the maximum of streams or shards per page ("ListStreams", "DescribeStream").
const maxStreamPage = 100

func checkStreamLimit(limit smithy.Opt[int64], bound int64) error {
	if limit.Value > bound {
		return smithy.TooLarge("limit", limit.Value, bound)
	}
	return nil
}
