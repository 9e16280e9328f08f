package autoscaling

import (
	"github.com/statordb/stator/internal/access"
	"github.com/statordb/stator/internal/autoscaling/api"
	"github.com/statordb/stator/internal/smithy"
)

// questions returns what a request asks of policies ("Actions, resources, and condition keys for AWS Application Auto Scaling"). Operations
// that list have no resource.
func (s *Service) questions(call *smithy.Call, in any) []access.Question {
	target := func(namespace, id, dimension smithy.Opt[string]) []access.Question {
		q, _ := s.aboutTarget(call, namespace.Value, id.Value, dimension.Value)
		return []access.Question{q}
	}
	switch in := in.(type) {
	case *api.RegisterScalableTargetRequest:
		return s.aboutNewTarget(call, in)
	case *api.DeregisterScalableTargetRequest:
		return target(in.ServiceNamespace, in.ResourceId, in.ScalableDimension)
	case *api.PutScalingPolicyRequest:
		return target(in.ServiceNamespace, in.ResourceId, in.ScalableDimension)
	case *api.DeleteScalingPolicyRequest:
		return target(in.ServiceNamespace, in.ResourceId, in.ScalableDimension)
	case *api.PutScheduledActionRequest:
		return target(in.ServiceNamespace, in.ResourceId, in.ScalableDimension)
	case *api.DeleteScheduledActionRequest:
		return target(in.ServiceNamespace, in.ResourceId, in.ScalableDimension)
	case *api.TagResourceRequest:
		q, keys := s.byARN(call, in.ResourceARN.Value)
		addRequestTags(keys, in.Tags)
		return []access.Question{q}
	case *api.UntagResourceRequest:
		q, keys := s.byARN(call, in.ResourceARN.Value)
		for _, key := range in.TagKeys {
			keys.Add("aws:tagkeys", key)
		}
		return []access.Question{q}
	case *api.ListTagsForResourceRequest:
		q, _ := s.byARN(call, in.ResourceARN.Value)
		return []access.Question{q}
	}
	return nil
}

// aboutTarget returns a question about a scalable target, and the question's condition keys. A target that is not registered has no ARN
// yet: only policies for scalable-target/* cover it.
func (s *Service) aboutTarget(call *smithy.Call, namespace, id, dimension string) (access.Question, access.Keys) {
	account, region := s.Namespace(call.Caller)
	r := Resource{account, region, id, dimension}
	keys := access.Keys{}
	keys.Set("application-autoscaling:service-namespace", namespace)
	keys.Set("application-autoscaling:scalable-dimension", dimension)
	q := access.Question{Resource: arnPrefix(region, account) + "*", Keys: keys}
	if t := s.targets.Get(r.record("")); t != nil {
		q.Resource = t.arn()
		keys.ResourceTags(t.Tags)
	}
	return q, keys
}

// aboutNewTarget returns what RegisterScalableTarget asks. A target with tags is tagged, too.
func (s *Service) aboutNewTarget(call *smithy.Call, in *api.RegisterScalableTargetRequest) []access.Question {
	q, keys := s.aboutTarget(call, in.ServiceNamespace.Value, in.ResourceId.Value, in.ScalableDimension.Value)
	addRequestTags(keys, in.Tags)
	list := []access.Question{q}
	if len(in.Tags) > 0 {
		q.Action = "application-autoscaling:TagResource"
		list = append(list, q)
	}
	return list
}

// byARN returns a question about the target with an ARN, and the question's condition keys.
func (s *Service) byARN(call *smithy.Call, arn string) (access.Question, access.Keys) {
	account, _ := s.Namespace(call.Caller)
	q, keys := access.ByARN(&call.Caller, arn, account), access.Keys{}
	if t, err := s.tagged(call, arn); err == nil {
		keys.ResourceTags(t.Tags)
	}
	q.Keys = keys
	return q, keys
}

// addRequestTags adds the tags that a request gives to its resource.
func addRequestTags(keys access.Keys, tags smithy.Map[string]) {
	for _, t := range tags {
		keys.RequestTag(t.Key, t.Value)
	}
}
