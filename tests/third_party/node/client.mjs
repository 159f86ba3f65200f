// Gets tokens by metadata discovery over mutual TLS, with a library that knows nothing of TGP. Its fetch shows the
// agent's certificate, that is all.
//
// Standard input: JSON {library, issuer, ca, certificate: [chain, key], agent, master_key, scope, resource, exchange}.
// Prints what the token endpoint gave for client credentials, and for the exchange of the token in `exchange` if any.

import { webcrypto } from 'node:crypto'
import { readFileSync } from 'node:fs'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'
import { Agent, fetch } from 'undici'

globalThis.crypto ??= webcrypto // Node 18

const job = JSON.parse(readFileSync(0, 'utf8'))
const [cert, key] = job.certificate.map((file) => readFileSync(file))
const dispatcher = new Agent({ connect: { ca: readFileSync(job.ca), cert, key } })
const certified = (url, options) => fetch(url, { ...options, dispatcher })
const issuer = new URL(job.issuer)
const wanted = { scope: job.scope, resource: job.resource }
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const handed = {
  subject_token: job.exchange,
  subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
}

async function withOauth4webapi() {
  const options = { [oauth.customFetch]: certified }
  const found = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...options })
  const server = await oauth.processDiscoveryResponse(issuer, found)
  const client = { client_id: job.agent }
  const secret = oauth.ClientSecretBasic(job.master_key)
  if (job.exchange) {
    const reply = await oauth.genericTokenEndpointRequest(server, client, secret, EXCHANGE, handed, options)
    return oauth.processGenericTokenEndpointResponse(server, client, reply)
  }
  const reply = await oauth.clientCredentialsGrantRequest(server, client, secret, wanted, options)
  return oauth.processClientCredentialsResponse(server, client, reply)
}

async function withOpenidClient() {
  const secret = openid.ClientSecretBasic(job.master_key)
  const options = { algorithm: 'oauth2', [openid.customFetch]: certified }
  const config = await openid.discovery(issuer, job.agent, undefined, secret, options)
  if (job.exchange) return openid.genericGrantRequest(config, EXCHANGE, handed)
  return openid.clientCredentialsGrant(config, wanted)
}

const tokens = await { 'oauth4webapi': withOauth4webapi, 'openid-client': withOpenidClient }[job.library]()
console.log(JSON.stringify(tokens))
await dispatcher.close()
