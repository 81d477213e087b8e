/**
 * The one table of what can go wrong. A code is what programs and tests compare; the sentence is all
 * that a refused caller learns; the remedy is what a person can do about it.
 *
 * `status` is the HTTP status on the sockets; a dialect may say another (dialect-*.ts). `says` names
 * the code that goes outside where the exact one would help an attacker: a caller must not learn
 * whether a token was foreign, forged or merely mistyped.
 */
export interface ErrorEntry {
  readonly status: number
  readonly sentence: string
  readonly remedy: string
  readonly says?: string
}

export const ERRORS = {
  REQUEST_MALFORMED: {
    status: 400,
    sentence: 'The request is not well-formed HTTP.',
    remedy: 'Send a plain HTTP/1.1 request, for example with curl --unix-socket.',
  },
  REQUEST_HEADERS: {
    status: 400,
    sentence: 'A header is repeated or not allowed.',
    remedy: 'Send each header at most once.',
  },
  REQUEST_PATH: {
    status: 400,
    sentence: 'The path is not in canonical form.',
    remedy:
      'Use a plain absolute path: no dot segments, encoded slashes, backslashes or absolute URLs.',
  },
  REQUEST_QUERY: {
    status: 400,
    sentence: 'The query is not allowed on this path.',
    remedy: 'Leave the query out; only identity paths take one, audience=VALUE.',
  },
  REQUEST_FORWARDED: {
    status: 403,
    sentence: 'Requests that came through a proxy are refused.',
    remedy: 'Speak to the socket directly; proxies that add forwarding headers are not supported.',
  },
  REQUEST_BROWSER: {
    status: 403,
    sentence: 'Requests from web pages are refused.',
    remedy: 'Use an HTTP client that sends no Origin, Referer or Sec-Fetch headers.',
  },
  REQUEST_METHOD: {
    status: 405,
    sentence: 'This method is not allowed here.',
    remedy: 'Use one of the methods in the Allow header.',
  },
  REQUEST_TIMEOUT: {
    status: 408,
    sentence: 'The request did not arrive in time.',
    remedy: 'Send the whole request at once.',
  },
  REQUEST_BODY: {
    status: 413,
    sentence: 'The request body is too large.',
    remedy: 'Send no body.',
  },
  REQUEST_TOO_LARGE: {
    status: 431,
    sentence: 'The request line or headers are too large.',
    remedy: 'Send fewer or shorter headers.',
  },
  TOKEN_TTL: {
    status: 400,
    sentence: 'The token lifetime must be a whole number of seconds from 1 to 21600.',
    remedy: 'Send the lifetime header once, with a number such as 3600.',
  },
  TOKEN_MISSING: {
    status: 403,
    sentence: 'A session token is required.',
    remedy: 'Make one with PUT /latest/api/token and send it in the token header.',
  },
  TOKEN_INVALID: {
    status: 401,
    sentence: 'The session token is not valid.',
    remedy: 'Make a new token on this instance.',
  },
  TOKEN_MALFORMED: {
    status: 401,
    sentence: 'This is not a session token: its length or alphabet is wrong.',
    remedy: 'Check that the whole token was copied, with no line break.',
    says: 'TOKEN_INVALID',
  },
  TOKEN_VERSION: {
    status: 401,
    sentence: 'The session token has a version that this agent does not know.',
    remedy: 'Make a new token with this agent.',
    says: 'TOKEN_INVALID',
  },
  TOKEN_FOREIGN: {
    status: 401,
    sentence: 'The session token was made on another instance.',
    remedy: 'Make a new token on this instance, and find out how that one came here.',
    says: 'TOKEN_INVALID',
  },
  TOKEN_EPOCH: {
    status: 401,
    sentence: 'The session token names a key epoch that this boot has not reached.',
    remedy: 'Make a new token; this one is forged or from before a reboot.',
    says: 'TOKEN_INVALID',
  },
  TOKEN_FORGED: {
    status: 401,
    sentence:
      'The session token does not verify: it is altered, or from before a reboot or revocation.',
    remedy: 'Make a new token.',
    says: 'TOKEN_INVALID',
  },
  TOKEN_REVOKED: {
    status: 401,
    sentence: 'The session token was revoked.',
    remedy: 'Make a new token.',
    says: 'TOKEN_INVALID',
  },
  TOKEN_EXPIRED: {
    status: 401,
    sentence: 'The session token has expired.',
    remedy: 'Make a new token.',
  },
  TOKEN_CALLER: {
    status: 401,
    sentence: 'The session token belongs to another caller.',
    remedy: 'Make a token as the user that uses it; see token.bind in the configuration.',
  },
  CALLER_UNKNOWN: {
    status: 403,
    sentence: 'The calling process could not be identified.',
    remedy: 'Connect from a process of this host that is still running.',
  },
  METADATA_ABSENT: {
    status: 404,
    sentence: 'There is no such metadata.',
    remedy: 'List the parent path to see what there is.',
  },
  SOURCE_DOWN: {
    status: 503,
    sentence: 'The metadata service of the cloud does not answer.',
    remedy: 'Try again; if it lasts, check source.endpoint and that the instance can reach it.',
  },
  SOURCE_NONSENSE: {
    status: 502,
    sentence: 'The metadata service of the cloud gave an answer that cannot be used.',
    remedy: 'Try again; if it lasts, check source.endpoint and source.dialect.',
  },
  AGENT_NOT_READY: {
    status: 503,
    sentence: 'The agent is not ready.',
    remedy: 'Try again shortly; metabind status says what it waits for.',
  },
  AGENT_STOPPED: {
    status: 503,
    sentence: 'The agent has stopped issuing and accepting tokens.',
    remedy: 'See metabind status for the reason.',
    says: 'AGENT_NOT_READY',
  },
  LIMIT_CONNECTIONS: {
    status: 503,
    sentence: 'Too many connections are open.',
    remedy: 'Close idle connections, or raise limits.connections.',
  },
  LIMIT_REVOCATIONS: {
    status: 507,
    sentence: 'Too many single tokens are revoked.',
    remedy: 'Revoke all tokens with metabind revoke --all.',
  },
  ADMIN_ABSENT: {
    status: 404,
    sentence: 'There is no such admin call.',
    remedy: 'Use a metabind command of the same version as the agent.',
  },
  ADMIN_REQUEST: {
    status: 400,
    sentence: 'The admin call has a wrong body.',
    remedy: 'Use a metabind command of the same version as the agent.',
  },
  INTERNAL: {
    status: 500,
    sentence: 'The agent met an error of its own.',
    remedy: 'See its log, and report it.',
  },
  CONFIG_UNREADABLE: {
    status: 500,
    sentence: 'The configuration file cannot be read.',
    remedy: 'Check the path given with --config and its permissions.',
  },
  CONFIG_INVALID: {
    status: 500,
    sentence: 'The configuration is not valid.',
    remedy: 'Correct the line; metabind config check FILE tries it without an agent.',
  },
  DIRECTORY_UNSAFE: {
    status: 500,
    sentence: 'A file or directory of the agent has an unsafe owner, mode or kind.',
    remedy: 'Make it belong to the agent alone: mode 0600 for files, no symbolic links.',
  },
  DIRECTORY_FAULT: {
    status: 500,
    sentence: 'A file of the agent cannot be read or written.',
    remedy: 'Check the directory, its owner and the free space.',
  },
  LISTEN_FAILED: {
    status: 500,
    sentence: 'The agent cannot listen on its socket.',
    remedy: 'Check the socket path, its directory and that no other agent runs.',
  },
  TPM_ABSENT: {
    status: 503,
    sentence: 'There is no TPM at the configured place.',
    remedy: 'Check tpm.tcti, and that this instance type has a TPM.',
  },
  TPM_NOT_PERMITTED: {
    status: 503,
    sentence: 'The agent may not use the TPM.',
    remedy: 'Add the user of the agent to the group that owns the device, usually tss.',
  },
  TPM_BUSY: {
    status: 503,
    sentence: 'The TPM is in use by another process.',
    remedy: 'Use the resource-managed device /dev/tpmrm0.',
  },
  TPM_FAULT: {
    status: 503,
    sentence: 'The TPM did not carry out a command.',
    remedy: 'See the log for the response code; metabind status keeps the last one.',
  },
  TPM_OTHER: {
    status: 503,
    sentence: 'Another TPM answers than the one that this agent started with.',
    remedy: 'Find out why; restarting the agent takes the new TPM as a new identity.',
  },
  TPM_STUCK: {
    status: 503,
    sentence: 'The TPM has stopped answering, and no further attempt is possible in this process.',
    remedy: 'The agent ends so that it is started anew; check the TPM or its driver.',
  },
  TPM_HIERARCHY_AUTH: {
    status: 503,
    sentence: 'The endorsement hierarchy of the TPM has a password or is disabled.',
    remedy: 'Clear the endorsement authorization; the agent needs it to be empty.',
  },
  SOCKET_ABSENT: {
    status: 503,
    sentence: 'No agent listens on the socket.',
    remedy: 'Start the agent (systemctl start metabindd), or name its socket with --socket.',
  },
  SOCKET_NOT_PERMITTED: {
    status: 503,
    sentence: 'You may not use the socket.',
    remedy: 'Become root or a member of the group metabind for admin verbs.',
  },
  SOCKET_BROKEN: {
    status: 503,
    sentence: 'The agent closed the connection or did not answer in time.',
    remedy: 'Try again; see the log of the agent.',
  },
  FILE_UNUSABLE: {
    status: 500,
    sentence: 'The file cannot be used.',
    remedy: 'Check its path, kind and permissions.',
  },
} as const satisfies Record<string, ErrorEntry>

export type ErrorCode = keyof typeof ERRORS

/** A failure with a code of the table. `detail` is for the log and the command line, never for a caller. */
export class MetabindError extends Error {
  override readonly name = 'MetabindError'
  readonly code: ErrorCode
  readonly detail: string | undefined

  constructor(code: ErrorCode, detail?: string, cause?: unknown) {
    super(detail === undefined ? ERRORS[code].sentence : `${ERRORS[code].sentence} ${detail}`, {
      ...(cause === undefined ? {} : { cause }),
    })
    this.code = code
    this.detail = detail
  }
}

/** Wrong use of the command line: exit code 2. The message names the argument. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** The code that a caller is told for an inner code. */
export function outsideCode(code: ErrorCode): ErrorCode {
  const entry: ErrorEntry = ERRORS[code]
  return entry.says !== undefined && entry.says in ERRORS ? (entry.says as ErrorCode) : code
}

/** The message chain of an error, outermost first, for one log line. */
export function causeChain(error: unknown): string {
  const parts: string[] = []
  for (let at: unknown = error; at instanceof Error && parts.length < 8; at = at.cause) {
    parts.push(at.message)
  }
  return parts.length === 0 ? String(error) : parts.join(': ')
}
