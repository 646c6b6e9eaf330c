// The shapes of the API's JSON, for editors and for `tsc --checkJs`. Nothing runs here.

/**
 * One line of the list.
 * @typedef {object} Summary
 * @property {number} sequence counts up within one run of countersign
 * @property {string} id
 * @property {string} began RFC 3339
 * @property {string} method
 * @property {string} target path and query, as they came
 * @property {string|null} stage
 * @property {string|null} route
 * @property {string|null} auth
 * @property {number|null} status
 * @property {string|null} refusal code of countersign's own refusal
 * @property {"stage"|"proxy"|null} origin who answered
 * @property {number|null} micros
 * @property {number} sent_bytes
 * @property {number} received_bytes
 * @property {number} attempts
 * @property {string|null} replay_of
 * @property {string|null} diagnosis its title
 * @property {string|null} content_type
 * @property {boolean} [imported] from a HAR file
 */

/**
 * @typedef {object} Header
 * @property {string} name
 * @property {string} value what may be seen of it
 * @property {boolean} [hidden] the value is a description, such as its length
 * @property {"added"|"removed"|"replaced"|"rewritten"|null} [change]
 */

/**
 * @typedef {object} Body
 * @property {number} length in bytes
 * @property {number} kept how many of them were captured
 * @property {string|null} text
 * @property {string|null} base64 when it is no text
 * @property {string|null} [why_not] why nothing of it is kept, where that is not a matter of settings
 */

/**
 * A piece of a text that is signed.
 * @typedef {object} Part
 * @property {string} text
 * @property {string} part
 * @property {string|null} [from]
 */

/**
 * @typedef {object} Signing
 * @property {Part[]} canonical_request
 * @property {string} canonical_request_hash
 * @property {Part[]} string_to_sign
 * @property {{date: string, region: string, service: string, terminator: string}} scope
 * @property {{step: string, of: string}[]} derivation
 * @property {string[]} signed_headers
 * @property {string} access_key_id
 * @property {string} signature its beginning
 */

/** @typedef {{method: string, target: string, version: string, headers: Header[], body: Body}} Received */
/** @typedef {{method: string, url: string, headers: Header[], body: Body, signing: Signing|null}} Sent */
/** @typedef {{status: number, reason: string|null, headers: Header[], body: Body}} Answer */
/** @typedef {{kind: "same"|"ours"|"theirs", line: string}} DiffLine */

/**
 * @typedef {object} Diagnosis
 * @property {string} rule
 * @property {string} title
 * @property {string} why
 * @property {string[]} steps
 * @property {object|null} policy
 * @property {DiffLine[]|null} diff
 * @property {string[]} excluded
 */

/**
 * One request, opened.
 * @typedef {object} Detail
 * @property {Summary} summary
 * @property {Received} received
 * @property {Sent|null} sent
 * @property {Answer|null} answer
 * @property {{code: string, fault: string, message: string, hint: string}|null} refusal
 * @property {{name: string, micros: number}[]} phases
 * @property {{source: string, access_key: string, expires: string|null}|null} credentials
 * @property {string|null} gateway_request_id
 * @property {boolean} cut the answer broke off
 * @property {Diagnosis|null} diagnosis
 */

/**
 * @typedef {object} StageState
 * @property {string} name
 * @property {string} mount
 * @property {string} url
 * @property {string} region
 * @property {string} service
 * @property {boolean} [read_only]
 * @property {{path: string, methods: string[], auth: string}[]} auth
 * @property {CredentialState|null} credentials
 * @property {{source: string, present: boolean, problem: {message: string, hint: string}|null}|null} api_key
 * @property {number} clock_offset_seconds
 */

/**
 * @typedef {object} CredentialState
 * @property {string} source
 * @property {string|null} access_key its end
 * @property {string|null} [identity] the ARN, when it is known
 * @property {string|null} expires
 * @property {number|null} seconds_left
 * @property {{message: string, hint: string}|null} problem
 * @property {boolean} login a login command is configured
 * @property {{at: string, outcome: "fetched"|"hiccup"|"failed", detail: string|null}[]} history oldest first
 */

/**
 * @typedef {object} State
 * @property {string} version
 * @property {boolean} draining
 * @property {boolean} bodies whether bodies are captured
 * @property {StageState[]} stages
 * @property {string[]} listen addresses of the proxy
 */

export {};
