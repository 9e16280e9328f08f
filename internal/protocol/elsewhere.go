package protocol

import "github.com/statordb/stator/internal/wirejson"

// Elsewhere renders the error for a request of a service that the endpoint lacks, in the form that the service's SDKs read. service is the
// signing name in the request's signature, served lists the names of the services here, and form says that the request's body is a form, as
// AWS Query sends it. The answers are made so that SDKs don't retry.
// Sources: "Error responses" (Amazon S3), "AWS Query protocol", "AWS EC2 query protocol", "AWS JSON protocol", "AWS restJson1 protocol".
func Elsewhere(service, served string, form bool, requestID string) Answer {
	message := "This endpoint serves " + served + ". It does not serve " + service +
		": give clients of other services an endpoint of their own, e.g. by AWS_ENDPOINT_URL_DYNAMODB instead of AWS_ENDPOINT_URL"
	xml := func(status int, body string) Answer {
		return Answer{Status: status, ContentType: contentTypeXML, Body: []byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + body)}
	}
	coded := func(code string) string { return "<Code>" + code + "</Code><Message>" + escape(message) + "</Message>" }
	switch {
	case service == "s3" || service == "s3express" || service == "s3-outposts" || service == "s3-object-lambda":
		return xml(501, "<Error>"+coded("NotImplemented")+"<RequestId>"+requestID+"</RequestId></Error>")
	case service == "ec2":
		return xml(400, "<Response><Errors><Error>"+coded("InvalidAction")+"</Error></Errors><RequestID>"+requestID+"</RequestID></Response>")
	case form, service == "route53", service == "cloudfront":
		return xml(400, "<ErrorResponse><Error><Type>Sender</Type>"+coded("InvalidAction")+"</Error><RequestId>"+requestID+"</RequestId></ErrorResponse>")
	}
	// restJson1 has the error's name in a header, the JSON protocols have it in the body. Members are called message or Message.
	const code = "UnknownOperationException"
	body := append([]byte(`{"__type":"`+code+`","message":`), wirejson.AppendString(nil, message)...)
	body = append(body, `,"Message":`...)
	body = append(wirejson.AppendString(body, message), '}')
	return Answer{Status: 400, ContentType: "application/json", Body: body, Header: [][2]string{{"x-amzn-ErrorType", code}}}
}
