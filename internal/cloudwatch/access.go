package cloudwatch

import (
	"github.com/statordb/stator/internal/access"
	"github.com/statordb/stator/internal/cloudwatch/api"
	"github.com/statordb/stator/internal/smithy"
)

// questions returns what a request asks of policies ("Actions, resources, and condition keys for Amazon CloudWatch"). Operations on
// metrics have no resource. Alarms that a request does not name are alarm:*.
func (s *Service) questions(call *smithy.Call, in any) []access.Question {
	switch in := in.(type) {
	case *api.DeleteAlarmsInput:
		return s.aboutAlarms(call, in.AlarmNames)
	case *api.DisableAlarmActionsInput:
		return s.aboutAlarms(call, in.AlarmNames)
	case *api.EnableAlarmActionsInput:
		return s.aboutAlarms(call, in.AlarmNames)
	case *api.DescribeAlarmsInput:
		if len(in.AlarmNames) > 0 {
			return s.aboutAlarms(call, in.AlarmNames)
		}
		return s.aboutAlarms(call, []string{"*"})
	case *api.DescribeAlarmHistoryInput:
		return s.aboutAlarms(call, []string{in.AlarmName.Or("*")})
	case *api.SetAlarmStateInput:
		return s.aboutAlarms(call, []string{in.AlarmName.Value})
	case *api.PutMetricAlarmInput:
		return s.aboutNewAlarm(call, in)
	case *api.GetInsightRuleReportInput:
		account, region := s.Namespace(call.Caller)
		return []access.Question{{Resource: "arn:aws:cloudwatch:" + region + ":" + account + ":insight-rule/" + in.RuleName.Value}}
	case *api.PutMetricDataInput:
		keys := access.Keys{}
		if in.Namespace.Set {
			keys.Set("cloudwatch:namespace", in.Namespace.Value)
		}
		return []access.Question{{Resource: access.Any, Keys: keys}}
	case *api.TagResourceInput:
		q, keys := s.byARN(call, in.ResourceARN.Value)
		addRequestTags(keys, in.Tags)
		return []access.Question{q}
	case *api.UntagResourceInput:
		q, keys := s.byARN(call, in.ResourceARN.Value)
		for _, key := range in.TagKeys {
			keys.Add("aws:tagkeys", key)
		}
		return []access.Question{q}
	case *api.ListTagsForResourceInput:
		q, _ := s.byARN(call, in.ResourceARN.Value)
		return []access.Question{q}
	}
	return nil
}

// aboutAlarms returns a question about each of the alarms, which need not exist.
func (s *Service) aboutAlarms(call *smithy.Call, names []string) []access.Question {
	list := make([]access.Question, len(names))
	for i, name := range names {
		list[i], _ = s.aboutAlarm(call, name)
	}
	return list
}

// aboutAlarm returns a question about an alarm, which need not exist, and the question's condition keys.
func (s *Service) aboutAlarm(call *smithy.Call, name string) (access.Question, access.Keys) {
	account, region := s.Namespace(call.Caller)
	keys := access.Keys{}
	if a := s.Alarm(account, region, name); a != nil {
		keys.ResourceTags(a.Tags)
	}
	return access.Question{Resource: (&Alarm{Account: account, Region: region, Name: name}).ARN(), Keys: keys}, keys
}

// aboutNewAlarm returns what PutMetricAlarm asks. An alarm with tags is tagged, too.
func (s *Service) aboutNewAlarm(call *smithy.Call, in *api.PutMetricAlarmInput) []access.Question {
	q, keys := s.aboutAlarm(call, in.AlarmName.Value)
	for _, actions := range [...][]string{in.AlarmActions, in.OKActions, in.InsufficientDataActions} {
		for _, action := range actions {
			keys.Add("cloudwatch:alarmactions", action)
		}
	}
	addRequestTags(keys, in.Tags)
	list := []access.Question{q}
	if len(in.Tags) > 0 {
		q.Action = "cloudwatch:TagResource"
		list = append(list, q)
	}
	return list
}

// byARN returns a question about the alarm with an ARN, and the question's condition keys.
func (s *Service) byARN(call *smithy.Call, arn string) (access.Question, access.Keys) {
	account, _ := s.Namespace(call.Caller)
	q, keys := access.ByARN(&call.Caller, arn, account), access.Keys{}
	if a := s.withARN(call, arn); a != nil {
		keys.ResourceTags(a.Tags)
	}
	q.Keys = keys
	return q, keys
}

// addRequestTags adds the tags that a request gives to its resource.
func addRequestTags(keys access.Keys, tags []api.Tag) {
	for _, t := range tags {
		keys.RequestTag(t.Key.Value, t.Value.Value)
	}
}
