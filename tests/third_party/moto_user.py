"""Makes a user of moto's that may do everything, in exactly three acts, and prints its access key."""
import json
import sys

import boto3

iam = boto3.client(
    "iam", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
)
iam.create_user(UserName="tgp")
policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
iam.put_user_policy(UserName="tgp", PolicyName="all", PolicyDocument=json.dumps(policy))
key = iam.create_access_key(UserName="tgp")["AccessKey"]
print(f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
