package server

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/statordb/stator/test/request"
)

// identity is the prefix of IAM's targets, tokens that of STS.
const (
	identity = "IAM."
	tokens   = "STS."
)

// testSecrets is a secrets key for tests.
var testSecrets = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", secretsKeyBytes)))

// iamOperations are the operations of IAM and STS, each with the members that a request must have.
const iamOperations = `
IAM.AddRoleToInstanceProfile InstanceProfileName RoleName
IAM.AddUserToGroup GroupName UserName
IAM.AttachGroupPolicy GroupName PolicyArn
IAM.AttachRolePolicy RoleName PolicyArn
IAM.AttachUserPolicy UserName PolicyArn
IAM.CreateAccessKey UserName
IAM.CreateGroup GroupName
IAM.CreateInstanceProfile InstanceProfileName
IAM.CreatePolicy PolicyName PolicyDocument
IAM.CreatePolicyVersion PolicyArn PolicyDocument
IAM.CreateRole RoleName AssumeRolePolicyDocument
IAM.CreateUser UserName
IAM.DeleteAccessKey AccessKeyId
IAM.DeleteGroup GroupName
IAM.DeleteGroupPolicy GroupName PolicyName
IAM.DeleteInstanceProfile InstanceProfileName
IAM.DeletePolicy PolicyArn
IAM.DeletePolicyVersion PolicyArn VersionId
IAM.DeleteRole RoleName
IAM.DeleteRolePermissionsBoundary RoleName
IAM.DeleteRolePolicy RoleName PolicyName
IAM.DeleteUser UserName
IAM.DeleteUserPermissionsBoundary UserName
IAM.DeleteUserPolicy UserName PolicyName
IAM.DetachGroupPolicy GroupName PolicyArn
IAM.DetachRolePolicy RoleName PolicyArn
IAM.DetachUserPolicy UserName PolicyArn
IAM.GetAccessKeyLastUsed AccessKeyId
IAM.GetAccountAuthorizationDetails
IAM.GetAccountSummary
IAM.GetGroup GroupName
IAM.GetGroupPolicy GroupName PolicyName
IAM.GetInstanceProfile InstanceProfileName
IAM.GetPolicy PolicyArn
IAM.GetPolicyVersion PolicyArn VersionId
IAM.GetRole RoleName
IAM.GetRolePolicy RoleName PolicyName
IAM.GetUser UserName
IAM.GetUserPolicy UserName PolicyName
IAM.ListAccessKeys UserName
IAM.ListAccountAliases
IAM.ListAttachedGroupPolicies GroupName
IAM.ListAttachedRolePolicies RoleName
IAM.ListAttachedUserPolicies UserName
IAM.ListEntitiesForPolicy PolicyArn
IAM.ListGroupPolicies GroupName
IAM.ListGroups
IAM.ListGroupsForUser UserName
IAM.ListInstanceProfileTags InstanceProfileName
IAM.ListInstanceProfiles
IAM.ListInstanceProfilesForRole RoleName
IAM.ListPolicies
IAM.ListPolicyTags PolicyArn
IAM.ListPolicyVersions PolicyArn
IAM.ListRolePolicies RoleName
IAM.ListRoleTags RoleName
IAM.ListRoles
IAM.ListUserPolicies UserName
IAM.ListUserTags UserName
IAM.ListUsers
IAM.PutGroupPolicy GroupName PolicyName PolicyDocument
IAM.PutRolePermissionsBoundary RoleName PermissionsBoundary
IAM.PutRolePolicy RoleName PolicyName PolicyDocument
IAM.PutUserPermissionsBoundary UserName PermissionsBoundary
IAM.PutUserPolicy UserName PolicyName PolicyDocument
IAM.RemoveRoleFromInstanceProfile InstanceProfileName RoleName
IAM.RemoveUserFromGroup GroupName UserName
IAM.SetDefaultPolicyVersion PolicyArn VersionId
IAM.SimulateCustomPolicy PolicyInputList ActionNames
IAM.SimulatePrincipalPolicy PolicySourceArn ActionNames
IAM.TagInstanceProfile InstanceProfileName Tags
IAM.TagPolicy PolicyArn Tags
IAM.TagRole RoleName Tags
IAM.TagUser UserName Tags
IAM.UntagInstanceProfile InstanceProfileName TagKeys
IAM.UntagPolicy PolicyArn TagKeys
IAM.UntagRole RoleName TagKeys
IAM.UntagUser UserName TagKeys
IAM.UpdateAccessKey AccessKeyId Status
IAM.UpdateAssumeRolePolicy RoleName PolicyDocument
IAM.UpdateGroup GroupName
IAM.UpdateRole RoleName
IAM.UpdateRoleDescription RoleName Description
IAM.UpdateUser UserName
STS.AssumeRole RoleArn RoleSessionName
STS.AssumeRoleWithWebIdentity RoleArn RoleSessionName WebIdentityToken
STS.GetAccessKeyInfo AccessKeyId
STS.GetCallerIdentity
STS.GetFederationToken Name
STS.GetSessionToken
`

// iamOwner creates records of every kind. Whatever other accounts must not read contains the word "classified".
func iamOwner(a account) {
	const trust = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + accountA + `"},"Action":"sts:AssumeRole"}}`
	const allow = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:GetItem","Resource":"*"}}`
	tags := []obj{{"Key": "classified", "Value": "classified"}}
	for _, r := range []struct {
		operation string
		in        obj
	}{
		{"CreateUser", obj{"UserName": "shared", "Path": "/classified/", "Tags": tags}},
		{"CreateUser", obj{"UserName": "idle"}},
		{"CreateGroup", obj{"GroupName": "shared", "Path": "/classified/"}},
		{"CreateRole", obj{"RoleName": "shared", "Description": "classified", "AssumeRolePolicyDocument": trust}},
		{"CreateInstanceProfile", obj{"InstanceProfileName": "shared", "Path": "/classified/"}},
		{"CreatePolicy", obj{"PolicyName": "shared", "Description": "classified", "PolicyDocument": allow}},
		{"CreatePolicyVersion", obj{"PolicyArn": iamPolicy, "PolicyDocument": strings.Replace(allow, "GetItem", "Query", 1)}},
		{"AttachUserPolicy", obj{"UserName": "shared", "PolicyArn": iamPolicy}},
		{"PutUserPolicy", obj{"UserName": "shared", "PolicyName": "inline", "PolicyDocument": allow}},
	} {
		a.must(identity+r.operation, r.in)
	}
}

const (
	iamPolicy = "arn:aws:iam::" + accountA + ":policy/shared"
	iamRole   = "arn:aws:iam::" + accountA + ":role/shared"
)

// iamInputs returns a request for each operation of IAM and STS, by target.
func iamInputs() map[string]obj {
	const document = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:GetItem","Resource":"*"}}`
	values := obj{
		"UserName": "shared", "GroupName": "shared", "RoleName": "shared", "InstanceProfileName": "shared", "PolicyName": "inline", "PolicyArn": iamPolicy, "VersionId": "v1",
		"PolicyDocument": document, "AssumeRolePolicyDocument": strings.Replace(document, `"Resource":"*"`, `"Principal":"*"`, 1), "AccessKeyId": "AKIAIOSFODNN7EXAMPLE",
		"PermissionsBoundary": iamPolicy, "PolicyInputList": []string{document}, "ActionNames": []string{"dynamodb:GetItem"}, "Tags": []obj{{"Key": "k", "Value": "v"}},
		"PolicySourceArn": "arn:aws:iam::" + accountA + ":user/classified/shared", "TagKeys": []string{"k"}, "Status": "Inactive", "Description": "mine",
		"RoleArn": iamRole, "RoleSessionName": "session", "WebIdentityToken": "token", "Name": "federated",
	}
	out := map[string]obj{}
	for line := range strings.Lines(strings.TrimSpace(iamOperations)) {
		words := strings.Fields(line)
		in := obj{}
		for _, member := range words[1:] {
			in[member] = values[member]
		}
		out[words[0]] = in
	}
	created := map[string]string{"CreateUser": "UserName", "CreateGroup": "GroupName", "CreateRole": "RoleName", "CreateInstanceProfile": "InstanceProfileName", "CreatePolicy": "PolicyName"}
	for operation, member := range created {
		in := maps.Clone(out[identity+operation])
		in[member] = "new"
		out[identity+operation] = in
	}
	return out
}

// TestIdentitiesOfServers makes a user and a session on one of two servers that share a database, uses them on the other, and takes them away again: the
// answer to a change comes once both servers know it.
func TestIdentitiesOfServers(t *testing.T) {
	database := newDatabase(t)
	opt := Options{Storage: database, SecretsKey: testSecrets}
	opt.DataDir = t.TempDir()
	one, _ := strangers(t, opt)
	opt.DataDir = t.TempDir()
	two, _ := strangers(t, opt)
	const allow = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["dynamodb:ListTables","sts:AssumeRole"],"Resource":"*"}}`
	one.must(identity+"CreateUser", obj{"UserName": "ann"})
	key := one.must(identity+"CreateAccessKey", obj{"UserName": "ann"})["AccessKey"].(obj)
	ann := account{t, two.server, key["AccessKeyId"].(string), key["SecretAccessKey"].(string), accountA, ""}
	expect := func(who account, token, want string) {
		t.Helper()
		req := who.request(dynamo+"ListTables", obj{})
		if token != "" {
			req = who.withToken(token, dynamo+"ListTables", obj{})
		}
		if _, code, message := who.send(req); code != want {
			t.Errorf("%q: %s, want %q", code, message, want)
		}
	}
	expect(ann, "", denied)
	one.must(identity+"PutUserPolicy", obj{"UserName": "ann", "PolicyName": "p", "PolicyDocument": allow})
	expect(ann, "", "")
	one.must(identity+"CreateRole", obj{"RoleName": "r", "AssumeRolePolicyDocument": strings.Replace(strings.Replace(allow, `"dynamodb:ListTables",`, "", 1), `"Resource":"*"`, `"Principal":{"AWS":"`+accountA+`"}`, 1)})
	one.must(identity+"PutRolePolicy", obj{"RoleName": "r", "PolicyName": "p", "PolicyDocument": allow})
	given := ann.must(tokens+"AssumeRole", obj{"RoleArn": "arn:aws:iam::" + accountA + ":role/r", "RoleSessionName": "session"})["Credentials"].(obj)
	session := account{t, one.server, given["AccessKeyId"].(string), given["SecretAccessKey"].(string), accountA, ""}
	token := given["SessionToken"].(string)
	expect(session, token, "")
	two.must(identity+"DeleteRolePolicy", obj{"RoleName": "r", "PolicyName": "p"})
	expect(session, token, denied)
	two.must(identity+"DeleteRole", obj{"RoleName": "r"})
	expect(session, token, "UnrecognizedClientException")
	one.must(identity+"UpdateAccessKey", obj{"UserName": "ann", "AccessKeyId": ann.key, "Status": "Inactive"})
	expect(ann, "", "UnrecognizedClientException")
	one.must(identity+"UpdateAccessKey", obj{"UserName": "ann", "AccessKeyId": ann.key, "Status": "Active"})
	expect(ann, "", "")
	one.must(identity+"DeleteAccessKey", obj{"UserName": "ann", "AccessKeyId": ann.key})
	expect(ann, "", "UnrecognizedClientException")

	opt.DataDir, opt.SecretsKey, opt.Listen = t.TempDir(), base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", secretsKeyBytes))), "127.0.0.1:0"
	if s, err := Open(opt); err == nil || !strings.Contains(err.Error(), "which is not among this server's") {
		t.Errorf("a server with another secrets key: %v, %v", s, err)
	}
}

// withToken returns a request that the key of a session has signed.
func (a account) withToken(token, target string, in any) *http.Request {
	a.t.Helper()
	req := a.request(target, in)
	req.Header.Del("Authorization")
	req.Header.Set("X-Amz-Security-Token", token)
	body, err := json.Marshal(in)
	if err != nil {
		a.t.Fatal(err)
	}
	if err := request.Sign(req, body, a.key, a.secret, "dynamodb"); err != nil {
		a.t.Fatal(err)
	}
	return req
}
