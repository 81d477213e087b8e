/**
 * The one table of what can go wrong. A code is what programs and tests compare; the sentence is all
 * that a refused caller learns; the remedy is what a person can do about it.
 */
export interface ErrorEntry {
  /** The HTTP status on the sockets; a dialect may say another (src/dialect). */
  readonly status: number
  readonly sentence: string
  readonly remedy: string
  /**
   * The code that goes outside, if the exact one would help an attacker: a caller must not learn
   * whether a token was foreign, forged or merely mistyped.
   */
  readonly says?: string
}

/** An entry whose status is that of its family, unless it says one of its own. */
type FamilyEntry = Omit<ErrorEntry, 'status'> & Partial<Pick<ErrorEntry, 'status'>>

/** Sorted by family, the first word of the code: what callers meet, how the agent starts, then the rest. */
export const ERRORS = {
  // A request that cannot be answered whoever sends it: each has the status that HTTP has for it.
  ...family(400, {
    REQUEST_MALFORMED: {
      sentence: 'The request is not well-formed HTTP.',
      remedy: 'Send a plain HTTP/1.1 request, for example with curl --unix-socket.',
    },
    REQUEST_HEADERS: {
      sentence: 'A header is repeated or not allowed.',
      remedy: 'Send each header at most once.',
    },
    REQUEST_PATH: {
      sentence: 'The path is not in canonical form.',
      remedy:
        'Use a plain absolute path: no dot segments, encoded slashes, backslashes or absolute URLs.',
    },
    REQUEST_QUERY: {
      sentence: 'The query is not allowed on this path.',
      remedy:
        'Leave the query out; only paths of identity and registrar tokens take one, audience=VALUE.',
    },
    REQUEST_FORWARDED: {
      status: 403,
      sentence: 'Requests that came through a proxy are refused.',
      remedy:
        'Speak to the socket directly; proxies that add forwarding headers are not supported.',
    },
    REQUEST_BROWSER: {
      status: 403,
      sentence: 'Requests from web pages are refused.',
      remedy:
        'Use a client that sends no Origin, Referer, Sec-Fetch-Site or -Dest, nor a domain as Host to the admin socket.',
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
      remedy: 'Send no body, or where proofs are asked for one of at most 8192 bytes.',
    },
    REQUEST_TOO_LARGE: {
      status: 431,
      sentence: 'The request line or headers are too large.',
      remedy: 'Send fewer or shorter headers.',
    },
  }),
  // The session token of a request, or the making of one.
  ...family(401, {
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
      sentence: 'The session token is not valid.',
      remedy: 'Make a new token on this instance.',
    },
    TOKEN_MALFORMED: {
      sentence: 'This is not a session token: its length or alphabet is wrong.',
      remedy: 'Check that the whole token was copied, with no line break.',
      says: 'TOKEN_INVALID',
    },
    TOKEN_VERSION: {
      sentence: 'The session token has a version that this agent does not know.',
      remedy: 'Make a new token with this agent.',
      says: 'TOKEN_INVALID',
    },
    TOKEN_FOREIGN: {
      sentence: 'The session token was made on another instance.',
      remedy: 'Make a new token on this instance, and find out how that one came here.',
      says: 'TOKEN_INVALID',
    },
    TOKEN_EPOCH: {
      sentence: 'The session token names a key epoch that this boot has not reached.',
      remedy: 'Make a new token; this one is forged or from before a reboot.',
      says: 'TOKEN_INVALID',
    },
    TOKEN_FORGED: {
      sentence:
        'The session token does not verify: it is altered, or from before a reboot or revocation.',
      remedy: 'Make a new token.',
      says: 'TOKEN_INVALID',
    },
    TOKEN_REVOKED: {
      sentence: 'The session token was revoked.',
      remedy: 'Make a new token.',
      says: 'TOKEN_INVALID',
    },
    TOKEN_EXPIRED: {
      sentence: 'The session token has expired.',
      remedy: 'Make a new token.',
    },
    TOKEN_CALLER: {
      sentence: 'The session token belongs to another caller.',
      remedy: 'Make a token as the user that uses it; see token.bind in the configuration.',
    },
    TOKEN_UNIT: {
      status: 403,
      sentence: 'Tokens are bound to systemd units here, and the calling process is in none.',
      remedy: 'Run it as a unit (systemd-run), or take "unit" out of token.bind.',
    },
  }),
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
  // One that cannot be loaded; one that denies is of the request.
  ...family(500, {
    POLICY_DENIED: {
      status: 403,
      sentence: 'The policy does not let this caller read this path.',
      remedy: 'Ask why, as the same user: metabind explain PATH says which rule decides.',
    },
    POLICY_UNREADABLE: {
      sentence: 'The policy file cannot be read.',
      remedy: 'Check its path (policy.file in the configuration) and permissions.',
    },
    POLICY_UNSAFE: {
      sentence: 'The policy file can be changed by others.',
      remedy: 'Make it belong to root, or to the agent, and writable for nobody else.',
    },
    POLICY_INVALID: {
      sentence: 'The policy is not valid.',
      remedy: 'Correct the line; metabind policy check FILE tries it without an agent.',
    },
    POLICY_BLIND: {
      sentence: "The policy names executables, and the agent cannot see other users' executables.",
      remedy: 'Grant the agent CAP_SYS_PTRACE, or write the rule by unit.',
    },
  }),
  // What a proof is asked for.
  ...family(400, {
    PROOF_REQUEST: {
      sentence: 'This is no request for a proof.',
      remedy:
        'Send the JSON that docs/proofs.md describes, each member once, or use metabind proof.',
    },
    PROOF_URL: {
      sentence: 'No proof is made for a URL of this form.',
      remedy:
        'Give an absolute URL in normal form: no user, no dot or empty segments, no semicolon, no needless escapes.',
    },
    PROOF_DENIED: {
      status: 403,
      sentence: 'The policy does not let this caller have a proof for this request.',
      remedy:
        'Ask why, as the same user: metabind explain URL says which rule decides. Without a rule nobody may.',
    },
  }),
  ...family(503, {
    SOURCE_DOWN: {
      sentence: 'The metadata service of the cloud does not answer.',
      remedy: 'Try again; if it lasts, check source.endpoint and that the instance can reach it.',
    },
    SOURCE_NONSENSE: {
      status: 502,
      sentence: 'The metadata service of the cloud gave an answer that cannot be used.',
      remedy: 'Try again; if it lasts, check source.endpoint and source.dialect.',
    },
    SOURCE_ROLE: {
      status: 502,
      sentence: 'The cloud gives no credentials for this role.',
      remedy:
        'See that the role exists and its trust policy names the compute service, such as ecs.aliyuncs.com.',
    },
    SOURCE_OTHER: {
      sentence: 'The metadata service names another instance than it did earlier in this boot.',
      remedy: 'Find out why; restarting the agent takes the answer as a new identity.',
    },
    SOURCE_CLOUD: {
      status: 404,
      sentence: 'The credentials are those of another cloud than this SDK is for.',
      remedy: 'Use the SDK of the cloud that source.dialect names.',
    },
  }),
  ...family(503, {
    AGENT_NOT_READY: {
      sentence: 'The agent is not ready.',
      remedy: 'Try again shortly; metabind status says what it waits for.',
    },
    AGENT_STOPPED: {
      sentence: 'The agent has stopped issuing and accepting tokens.',
      remedy: 'See metabind status for the reason.',
      says: 'AGENT_NOT_READY',
    },
  }),
  // What the agent says of the registrar of its fleet to callers who want its tokens.
  ...family(503, {
    FEDERATION_OFF: {
      status: 404,
      sentence: 'The agent has no registrar to get tokens from.',
      remedy: 'Name one: registrar.url in the configuration of the agent (docs/federation.md).',
    },
    FEDERATION_NOT_ENROLLED: {
      sentence: 'The registrar has not let this instance in yet.',
      remedy: 'Wait; metabind status says when the agent tries again, and what it waits for.',
    },
    FEDERATION_DOWN: {
      sentence: 'The registrar gives no answer that can be used.',
      remedy:
        'Try again; if it lasts, check [registrar], and that the sandbox of the unit lets the agent reach it.',
    },
    FEDERATION_REFUSED: {
      status: 403,
      sentence: 'The registrar refuses this instance.',
      remedy:
        'See metabind status for its reason; there, metabind-registrar show and the log say more.',
    },
    FEDERATION_AUDIENCE: {
      status: 404,
      sentence: 'The registrar issues no such tokens.',
      remedy:
        'Check the audience, letter by letter, and the format; the registrar names its audiences in its configuration.',
    },
    FEDERATION_RESERVED: {
      status: 403,
      sentence: 'Identity tokens for the registrar are for the agent alone.',
      remedy: 'Ask for the token that you want of it, at /metabind/v1/token.',
    },
  }),
  ...family(503, {
    LIMIT_CONNECTIONS: {
      sentence: 'Too many connections are open.',
      remedy: 'Close idle connections, or raise limits.connections_per_uid.',
    },
    LIMIT_RATE: {
      status: 429,
      sentence: 'This user asks too often.',
      remedy:
        'Keep a token for its lifetime and wait as long as Retry-After says; see [limits] in the configuration.',
    },
    LIMIT_SIGNATURES: {
      sentence: 'Too many signatures of the TPM are waited for.',
      remedy:
        'Try again shortly; keep an identity token until it ends rather than asking for another.',
    },
    LIMIT_REVOCATIONS: {
      status: 507,
      sentence: 'Too many single tokens are revoked.',
      remedy: 'Revoke all tokens with metabind revoke --all.',
    },
  }),
  ...family(400, {
    ADMIN_ABSENT: {
      status: 404,
      sentence: 'There is no such admin call.',
      remedy: 'Use a metabind command of the same version as the agent.',
    },
    ADMIN_REQUEST: {
      sentence: 'The admin call has a wrong body.',
      remedy: 'Use a metabind command of the same version as the agent.',
    },
  }),
  INTERNAL: {
    status: 500,
    sentence: 'The agent met an error of its own.',
    remedy: 'See its log, and report it.',
  },
  ...family(500, {
    CONFIG_UNREADABLE: {
      sentence: 'The configuration file cannot be read.',
      remedy: 'Check its path and permissions.',
    },
    CONFIG_INVALID: {
      sentence: 'The configuration is not valid.',
      remedy:
        'Correct the line; metabind config check FILE, of a registrar metabind-registrar check, tries it.',
    },
    CONFIG_SANDBOX: {
      sentence: 'The unit of the agent keeps it from a path of the configuration.',
      remedy:
        'Write below /var/log/metabind, read below /etc/metabind; or add ReadWritePaths= by a drop-in.',
    },
  }),
  ...family(500, {
    DIRECTORY_UNSAFE: {
      sentence: 'A file or directory of metabind has an unsafe owner, mode or kind.',
      remedy:
        'Make it belong to the user of the service alone: mode 0600 for files, no symbolic links.',
    },
    DIRECTORY_ABSENT: {
      sentence: 'A directory of metabind does not exist.',
      remedy:
        'Keep RuntimeDirectory= and StateDirectory= in its unit, or make the directory, owned by its user.',
    },
    DIRECTORY_TAKEN: {
      sentence: 'Another agent has a directory that this one is to have.',
      remedy: 'End the other agent, or give this one directories and sockets of its own.',
    },
    DIRECTORY_FAULT: {
      sentence: 'A file of metabind cannot be read or written.',
      remedy:
        'Check the directory, its owner, the free space, and what the unit allows (metabind config check).',
    },
  }),
  KEPT_UNUSABLE: {
    status: 500,
    sentence: 'What was kept for a restart does not open, and is ignored.',
    remedy:
      'Nothing, once: it is another boot’s or damaged, and is replaced. If it lasts, report it.',
  },
  ...family(500, {
    LISTEN_URI_OFF: {
      status: 404,
      sentence: 'The agent has no listener for credentials URLs.',
      remedy: 'Set credentials_uri.enabled and restart the agent, or use metabind exec --with env.',
    },
    LISTEN_URI_UNNAMED: {
      status: 404,
      sentence:
        'Everybody would be refused at a credentials URL, as nobody could say who they are.',
      remedy:
        'Use metabind exec --with env, or the socket; metabind doctor says what the kernel lacks.',
    },
    LISTEN_FAILED: {
      sentence: 'The service cannot listen on its socket or port.',
      remedy: 'Check the path or port, its directory, and that nothing else listens there.',
    },
  }),
  LISTEN_SIMULATOR: {
    status: 500,
    sentence: 'The simulator cannot listen there.',
    remedy: 'Take another --port, --host or --socket; without --port it takes a free port.',
  },
  ...family(403, {
    UI_ORIGIN: {
      sentence: 'The request does not come from the status page itself.',
      remedy: 'Open the link that metabind ui prints as it is: at 127.0.0.1, with its port.',
    },
    UI_KEY: {
      sentence: 'The request has no key of this status page.',
      remedy: 'Open the link that metabind ui prints; each page has its own keys.',
    },
    UI_LINK: {
      sentence: 'The link of the status page is not good, or no longer.',
      remedy:
        'Run metabind ui again. A link works once; if somebody else opened it, find out who had it.',
    },
    UI_PORT: {
      status: 500,
      sentence: 'The status page cannot be served on this port.',
      remedy: 'Take another --port, or leave it out.',
    },
  }),
  PROC_HIDDEN: {
    status: 500,
    sentence: 'The agent cannot see in /proc who its callers are.',
    remedy:
      'Run it with the /proc of its PID namespace; with hidepid=, in the group of gid= (docs/operations.md).',
  },
  ...family(503, {
    TPM_ABSENT: {
      sentence: 'There is no TPM at the configured place.',
      remedy: 'Check tpm.tcti, and that this instance type has a TPM.',
    },
    TPM_NOT_PERMITTED: {
      sentence: 'The agent may not use the TPM.',
      remedy: 'Add the user of the agent to the group that owns the device, usually tss.',
    },
    TPM_BUSY: {
      sentence: 'The TPM is in use by another process.',
      remedy: 'Use the resource-managed device /dev/tpmrm0.',
    },
    TPM_FAULT: {
      sentence: 'The TPM did not carry out a command.',
      remedy: 'See the log for the response code; metabind status keeps the last one.',
    },
    TPM_LIBRARY: {
      sentence: 'A library of tpm2-tss is missing or too old.',
      remedy: 'Install tpm2-tss 2.3.2 or later and restart the agent; the log names the library.',
    },
    TPM_FULL: {
      sentence: 'The TPM has no room for another object or session.',
      remedy:
        'Use /dev/tpmrm0. Without a resource manager the agent flushes what stays loaded; if it lasts, see what else loads.',
    },
    TPM_OTHER: {
      sentence: 'Another TPM answers than the one that this agent started with.',
      remedy: 'Find out why; restarting the agent takes the new TPM as a new identity.',
    },
    TPM_NV: {
      sentence: 'What the NV memory of the TPM says of its endorsement key cannot be used.',
      remedy: 'Ask the provider of the TPM; tpm2_nvread shows what an index holds.',
    },
    TPM_NV_UNREADABLE: {
      sentence: 'The NV memory of the TPM does not let its EK certificate be read.',
      remedy:
        'Ask the provider of the TPM, pin the EK with tpm.ek_pins, or do without: tpm.ek_certificate = "prefer".',
    },
    TPM_PCRS_MOVE: {
      sentence: 'The PCRs changed while they were being quoted.',
      remedy: 'Try again; if it lasts, see what extends them.',
    },
    TPM_STUCK: {
      sentence:
        'The TPM has stopped answering, and no further attempt is possible in this process.',
      remedy: 'The agent ends so that it is started anew; check the TPM or its driver.',
    },
    TPM_HIERARCHY_AUTH: {
      sentence: 'The endorsement hierarchy of the TPM has a password or is disabled.',
      remedy: 'Clear the endorsement authorization; the agent needs it to be empty.',
    },
  }),
  ACTIVATION_OTHER: {
    status: 400,
    sentence: 'The challenge cannot be answered here.',
    remedy: 'Make a challenge for evidence of this instance, and carry it over unaltered.',
  },
  // What the command line and the SDKs say of an agent that they cannot reach.
  ...family(503, {
    SOCKET_ABSENT: {
      sentence: 'No agent listens on the socket.',
      remedy:
        'Start the agent (systemctl start metabindd), or name its socket with --socket or --admin-socket.',
    },
    SOCKET_NOT_PERMITTED: {
      sentence: 'You may not use the socket.',
      remedy: 'Become root or a member of the group metabind for admin verbs.',
    },
    SOCKET_NO_TOKEN: {
      sentence: 'What was given as a token of the registrar is none.',
      remedy: 'See that an agent of metabind answers on the socket, and what its registrar issues.',
    },
    SOCKET_BROKEN: {
      sentence: 'The agent closed the connection or did not answer in time.',
      remedy: 'Try again; see the log of the agent.',
    },
  }),
  ROLE_ABSENT: {
    status: 404,
    sentence: 'The instance has no such role.',
    remedy: 'Leave the role out to take the one that there is, or attach it to the instance.',
  },
  ACCOUNT_ABSENT: {
    status: 404,
    sentence: 'There is no such user on this machine.',
    remedy: 'Take a name that getent passwd knows, or a uid.',
  },
  LOCKDOWN_UNPREPARED: {
    status: 500,
    sentence: 'Lockdown cannot be turned on as things are.',
    remedy: 'Set transparent.enabled, start the agent as a user of its own, then try again.',
  },
  LOCKDOWN_NOBODY_NAMED: {
    status: 500,
    sentence: 'Lockdown would refuse every caller of this host, as nobody could say who they are.',
    remedy: 'Boot Linux 5.8 or later with systemd.unified_cgroup_hierarchy=1, or use the socket.',
  },
  LOCKDOWN_UNCONFIRMED: {
    status: 500,
    sentence: 'There is nothing to confirm: no lockdown is in force.',
    remedy: 'Turn it on first: metabind lockdown on --for 10m.',
  },
  FIREWALL_FAILED: {
    status: 500,
    sentence: 'The firewall could not be asked or changed.',
    remedy: 'Run the command as root, with nft of the package nftables installed.',
  },
  ...family(500, {
    FILE_UNUSABLE: {
      sentence: 'The file cannot be used.',
      remedy: 'Check its path, kind and permissions.',
    },
    FILE_NOT_WRITTEN: {
      sentence: 'The output could not be written.',
      remedy: 'Make room where it goes, or send it elsewhere.',
    },
  }),
  // Refusals of the verifier (src/verify), which serves nobody: the status stands for "refused".
  ...family(403, {
    VERIFY_SIZE: {
      sentence: 'The document is larger than any genuine one.',
      remedy: 'Check that this is the right file.',
    },
    VERIFY_FORMAT: {
      sentence: 'The document is not of the format that was expected.',
      remedy: 'Have it made again, and hand it over unchanged.',
    },
    VERIFY_WRAPPER: {
      sentence: 'The evidence comes in a wrapper that is not the one expected.',
      remedy:
        'Wrap one document of the type application/vnd.metabind.evidence+json as a record (RFC 9999), or none.',
    },
    VERIFY_VERSION: {
      sentence: 'The document has a version that this verifier does not know.',
      remedy: 'Use a verifier of the version of the agent.',
    },
    VERIFY_STRUCTURE: {
      sentence: 'A structure of the TPM is malformed.',
      remedy: 'Have the evidence made again, and hand it over unchanged.',
    },
    VERIFY_NONCE: {
      sentence: 'The evidence was made for another nonce.',
      remedy: 'Give the nonce that you sent; make a new one for each evidence.',
    },
    VERIFY_BIND: {
      sentence: 'The evidence binds other bytes than the ones demanded, or none.',
      remedy: 'Check whose evidence it is; have it made with --bind and those bytes.',
    },
    VERIFY_INSTANCE_ID: {
      sentence: 'The evidence is of another instance than the one expected.',
      remedy: 'Check the instance id, and where the evidence came from.',
    },
    VERIFY_EK_PUBLIC: {
      sentence: 'The endorsement key is not made from a default template.',
      remedy: 'Take evidence from an instance whose TPM has a default endorsement key.',
    },
    VERIFY_UNANCHORED: {
      sentence: 'Nothing vouches for the TPM: no certificate chain, no pinned key.',
      remedy: "Give the anchors of the TPM's maker or cloud, or pin its endorsement key.",
    },
    VERIFY_CERTIFICATE: {
      sentence: 'A certificate is malformed.',
      remedy: 'Have the evidence made again, and hand it over unchanged.',
    },
    VERIFY_CERTIFICATE_KEY: {
      sentence: 'The certificate is of another key than the evidence.',
      remedy: 'The certificate belongs to another TPM: find out where it came from.',
    },
    VERIFY_CERTIFICATE_PROFILE: {
      sentence: 'The certificate is not of the kind that a TPM key has.',
      remedy: 'See the detail; a certificate of another purpose proves nothing here.',
    },
    VERIFY_CERTIFICATE_ISSUER: {
      sentence: 'The certificate does not lead to an anchor.',
      remedy: 'Give the right anchors, and the certificates between, if the TPM has none.',
    },
    VERIFY_CERTIFICATE_SIGNATURE: {
      sentence: 'The signature of a certificate does not verify.',
      remedy: 'The certificate is forged or altered.',
    },
    VERIFY_CERTIFICATE_ALGORITHM: {
      sentence: 'A certificate uses a weak or unknown algorithm.',
      remedy: 'SHA-256 or better, RSA of 2048 bits or better, or a NIST curve is needed.',
    },
    VERIFY_CERTIFICATE_TIME: {
      sentence: 'A certificate is not valid at this time.',
      remedy: 'Check the clock; otherwise the certificate has expired.',
    },
    VERIFY_CERTIFICATE_CA: {
      sentence: 'A certificate was issued by something that is no authority.',
      remedy: 'The certificate is forged.',
    },
    VERIFY_CERTIFICATE_PATH_LENGTH: {
      sentence: 'A chain of certificates is longer than its authority allows.',
      remedy: 'The certificate is forged, or its authority made an error.',
    },
    VERIFY_CERTIFICATE_KEY_USAGE: {
      sentence: 'A key signed a certificate that may not sign certificates.',
      remedy: 'The certificate is forged, or its authority made an error.',
    },
    VERIFY_CERTIFICATE_EXTENSION: {
      sentence: 'A certificate has a critical extension that this verifier does not know.',
      remedy: 'Use a newer verifier.',
    },
    VERIFY_CERTIFICATE_NAMES: {
      sentence: 'A certificate names what an authority above it may not name.',
      remedy: 'The certificate is forged, or its authority made an error.',
    },
    VERIFY_CERTIFICATE_REVOKED: {
      sentence: 'A certificate was revoked by its issuer.',
      remedy: 'Do not trust this TPM; ask its maker or cloud why, with the serial number.',
    },
    VERIFY_CERTIFICATE_CRL: {
      sentence: 'Nothing shows that a certificate is not revoked.',
      remedy: "Give its issuer's current revocation list; see the detail.",
    },
    VERIFY_EK_INSTANCE: {
      sentence: 'The endorsement certificate names another instance.',
      remedy: 'Find out whether the instance was cloned or the evidence was moved.',
    },
    VERIFY_AK_PUBLIC: {
      sentence: 'The attestation key has not exactly the attributes that it must have.',
      remedy: 'The key proves nothing: it may be unrestricted, or be known outside a TPM.',
    },
    VERIFY_KEY_PUBLIC: {
      sentence: 'A certified key has not exactly the attributes that it must have.',
      remedy: 'The key may be known outside a TPM; do not trust what it signs.',
    },
    VERIFY_SIGNATURE_ALGORITHM: {
      sentence: 'An attestation is signed with another algorithm than its key has.',
      remedy: 'Only the scheme of the attestation key is accepted, never SHA-1.',
    },
    VERIFY_SIGNATURE: {
      sentence: 'The signature of an attestation does not verify.',
      remedy: 'The attestation is altered, or another key made it.',
    },
    VERIFY_MAGIC: {
      sentence: 'What was signed does not come from inside a TPM.',
      remedy: 'The attestation is forged.',
    },
    VERIFY_TYPE: {
      sentence: 'The attestation is of another type.',
      remedy: 'The attestation is forged: one kind is passed off as another.',
    },
    VERIFY_EXTRA_DATA: {
      sentence: 'The attestation was made for another nonce or another purpose.',
      remedy: 'It is a replay, or belongs elsewhere; ask for evidence with a new nonce.',
    },
    VERIFY_SIGNER: {
      sentence: 'The attestation key is not a primary key of the endorsement hierarchy.',
      remedy: 'The evidence was not made by a metabind agent.',
    },
    VERIFY_NAME: {
      sentence: 'The certification is of another key.',
      remedy: 'The evidence was put together from parts that do not belong together.',
    },
    VERIFY_HIERARCHY: {
      sentence: 'A certified key is in another hierarchy than it must be in.',
      remedy: 'The evidence was not made by a metabind agent.',
    },
    VERIFY_PCR_SELECTION: {
      sentence: 'The quote is not over exactly the PCRs that are shown or demanded.',
      remedy: 'Have the evidence made over the PCRs that are demanded, in one bank.',
    },
    VERIFY_PCR_DIGEST: {
      sentence: 'The PCR values are not the ones that were quoted.',
      remedy: 'The values are altered, or changed while they were read; ask again.',
    },
    VERIFY_CLOCK: {
      sentence: 'The parts of the evidence are of different runs of the TPM.',
      remedy: 'Have the evidence made again; if that does not help, do not trust it.',
    },
    VERIFY_RECORD: {
      sentence: 'The record is of another machine than the evidence.',
      remedy: 'Keep one record for each instance; look up the one of this instance.',
    },
    VERIFY_REINSTALLED: {
      sentence: 'The instance has other keys than the last time.',
      remedy: 'If it was made anew or its TPM was cleared, enrol it anew; if not, do not trust it.',
    },
    VERIFY_CLONED: {
      sentence: 'Two machines go on from one state of one TPM.',
      remedy:
        'If the same evidence was shown twice, ask for new; else find the copy, end it, and enrol the machine that stays anew.',
    },
    VERIFY_ROLLED_BACK: {
      sentence: 'The machine is of an earlier state than the last time.',
      remedy: 'If it was restored from a snapshot, enrol it anew; if not, do not trust it.',
    },
    VERIFY_EVENT_LOG: {
      sentence: 'The event log does not lead to the PCR values.',
      remedy: 'The log is altered or incomplete; do not draw conclusions from it.',
    },
    VERIFY_REPLAY: {
      sentence: 'A PCR that must be replayed is not quoted, or no log leads to its value.',
      remedy:
        'Have the agent quote the PCR and read the logs; then find out what measured into it.',
    },
    VERIFY_PCR_POLICY: {
      sentence: 'What was measured is not what the policy allows.',
      remedy: 'Find out what booted; if it is right, add what was found to the policy.',
    },
    VERIFY_PCR_POLICY_FILE: {
      sentence: 'The PCR policy is not valid.',
      remedy: 'Correct it; docs/verify.md says what it holds.',
    },
    VERIFY_POLICY_SIGNATURE: {
      sentence: 'The PCR policy is not signed by the key that you trust.',
      remedy: 'Get policy and signature from whoever makes your policies; do not use this one.',
    },
    VERIFY_POLICY_TIME: {
      sentence: 'The PCR policy is not in force yet, or no longer.',
      remedy: 'Get the policy that is in force; check the time.',
    },
    VERIFY_POLICY_REVISION: {
      sentence: 'The PCR policy is older than one that was in use.',
      remedy: 'Get the latest policy; an older one may allow what has been given up.',
    },
    VERIFY_PCR_SIGNATURES: {
      sentence: 'The signatures of PCR values cannot be read.',
      remedy: 'Give the section .pcrsig of the kernel image, or what systemd-measure printed.',
    },
    VERIFY_DOCUMENT_ABSENT: {
      sentence: 'The evidence has no identity document of the cloud.',
      remedy: 'Let the agent reach the metadata service, or do not demand the document.',
    },
    VERIFY_DOCUMENT: {
      sentence: 'The identity document of the cloud is malformed.',
      remedy: 'Have the evidence made again, and hand it over unchanged.',
    },
    VERIFY_DOCUMENT_SIGNATURE: {
      sentence: 'The signature of the identity document does not verify.',
      remedy:
        'It is forged, or the cloud has another key: --identity-certificate, of a registrar trust.identity_certificate.',
    },
    VERIFY_DOCUMENT_AUDIENCE: {
      sentence: 'The identity document was made for another audience.',
      remedy: 'It is a replay; ask for evidence with a new nonce.',
    },
    VERIFY_DOCUMENT_INSTANCE: {
      sentence: 'The identity document is of another instance.',
      remedy: 'The evidence was put together from parts of two instances.',
    },
    VERIFY_CHALLENGE: {
      sentence: 'The answer belongs to another challenge, or the challenge to other evidence.',
      remedy: 'Finish with the secret that was kept with this very challenge.',
    },
    VERIFY_CHALLENGE_EXPIRED: {
      sentence: 'The challenge was made too long ago.',
      remedy: 'Make a new challenge.',
    },
    VERIFY_ACTIVATION: {
      sentence: 'The attestation key is not proven to be in the TPM of the endorsement key.',
      remedy: 'Make a challenge and have the instance answer it; a wrong answer is a forgery.',
    },
    VERIFY_PROVISIONAL: {
      sentence:
        'Nothing shows that the attestation key is in a TPM: software could have made all of this.',
      remedy:
        'Make a challenge and have the instance answer it, or say that a provisional result will do.',
    },
    VERIFY_TOKEN: {
      sentence: 'The identity token is malformed.',
      remedy: 'Have it made again, and hand it over unchanged.',
    },
    VERIFY_TOKEN_SIGNATURE: {
      sentence: 'The signature of the identity token does not verify.',
      remedy: 'It was made by another instance, or is altered.',
    },
    VERIFY_TOKEN_CLAIMS: {
      sentence: 'The identity token is for another instance, audience or time.',
      remedy: 'Ask for a new token for your audience.',
    },
    VERIFY_PROOF: {
      sentence: 'The proof of possession is malformed.',
      remedy: 'Have it made again, and send it unchanged, in one header.',
    },
    VERIFY_PROOF_SIGNATURE: {
      sentence: 'The signature of the proof does not verify.',
      remedy: 'Another key made it than the one it is for, or it is altered.',
    },
    VERIFY_PROOF_CLAIMS: {
      sentence: 'The proof is for another request, token, key or time.',
      remedy: 'Make a proof for each request, on the instance that the token is of.',
    },
    VERIFY_PROOF_NONCE: {
      sentence: 'The proof has no nonce of this service.',
      remedy: 'Make it again with the nonce of the header DPoP-Nonce.',
    },
    VERIFY_RESULT: {
      sentence: 'The attestation result is malformed.',
      remedy: 'Have it made again, and hand it over unchanged.',
    },
    VERIFY_RESULT_SIGNATURE: {
      sentence: 'The signature of the attestation result does not verify.',
      remedy: 'Another verifier made it, or it is altered: check whose keys you give.',
    },
    VERIFY_RESULT_CLAIMS: {
      sentence: 'The attestation result is for another nonce, instance or time.',
      remedy: 'Have the instance verified again, for a nonce of yours.',
    },
    VERIFY_RESULT_KEY: {
      sentence: 'The key cannot be used for attestation results.',
      remedy:
        'Give one of P-256, P-384, P-521, Ed25519, RSA of 2048 to 8192 bits or ML-DSA-65, as PEM: PKCS #8 to sign.',
    },
    VERIFY_ANCHOR: {
      sentence: 'An anchor cannot be used.',
      remedy: 'Anchors are certificates in PEM or DER, or SHA-256 fingerprints in hex.',
    },
    VERIFY_CRL_FILE: {
      sentence: 'A file of revocation lists cannot be used.',
      remedy: 'Give complete lists in PEM or DER: no delta lists and no indirect ones.',
    },
  }),
  // What an instance is told that enrols at a registrar.
  ...family(403, {
    ENROL_REQUEST: {
      status: 400,
      sentence: 'The request is not one of enrolment.',
      remedy: 'Send what docs/fleet.md says of it.',
    },
    ENROL_NONCE: {
      sentence: 'The nonce is not of this registrar, too old, or was used.',
      remedy: 'Ask for a nonce, have evidence made for it, and send that within five minutes.',
    },
    ENROL_CHANNEL: {
      status: 400,
      sentence: 'Evidence has to bind this connection, and it is not of TLS 1.3.',
      remedy: 'Enrol over TLS 1.3.',
    },
    ENROL_CHALLENGE: {
      sentence: 'There is no such challenge, or its time is over.',
      remedy: 'Begin the enrolment anew.',
    },
    ENROL_UNNAMED: {
      sentence: "Nothing but the agent's own word says which instance this is.",
      remedy: 'Let the cloud sign an identity document, or set admission.instance_id = "word".',
    },
    ENROL_LATE: {
      status: 409,
      sentence: 'A later enrolment of the instance came first.',
      remedy: 'Begin the enrolment anew.',
    },
    ENROL_REINSTALLED: {
      status: 409,
      sentence:
        'The instance id is enrolled with another TPM, or with keys from before a TPM2_Clear.',
      remedy: 'If it was made anew, evict the enrolled one; if not, somebody claims its id.',
    },
    ENROL_CLONED: {
      sentence: 'Two machines go on from the state of one: the instance is suspended.',
      remedy: 'See which two with metabind-registrar show; end the copy, then approve or evict.',
    },
    ENROL_SUSPENDED: {
      sentence: 'The instance is suspended.',
      remedy: 'See why with metabind-registrar show, and approve it if that is over.',
    },
    ENROL_BANNED: {
      sentence: 'The TPM of this instance is banned.',
      remedy: 'It may enrol again only if it is evicted.',
    },
    ENROL_UNKNOWN: {
      sentence: 'No such instance is enrolled.',
      remedy: 'Enrol it; metabind-registrar list shows those that are.',
    },
    ENROL_HELD: {
      sentence: 'The instance waits for approval.',
      remedy: 'See it with metabind-registrar show, and approve it.',
    },
    ENROL_EXPIRED: {
      sentence: 'The enrolment is over.',
      remedy: 'Enrol again, with new evidence.',
    },
    ENROL_CROWDED: {
      status: 503,
      sentence: 'Too many unknown instances wait for approval.',
      remedy:
        'Approve, evict or ban those that metabind-registrar list has as held or suspended; limits.held says how many may be.',
    },
    ENROL_FULL: {
      status: 503,
      sentence: 'Too many enrolments wait for their answers.',
      remedy: 'Try again in a minute; limits.pending says how many may wait.',
    },
  }),
  // The registrar itself.
  ...family(500, {
    REGISTRAR_ABSENT: {
      status: 404,
      sentence: 'The registrar has nothing here.',
      remedy: 'Ask for what docs/fleet.md lists.',
    },
    REGISTRAR_QUERY: {
      status: 400,
      sentence: 'The query is not one of a page.',
      remedy: 'Send after and count as docs/fleet-operations.md says, each once at most.',
    },
    REGISTRAR_REQUEST: {
      status: 400,
      sentence: 'The request is not one of token exchange (RFC 8693) or a JWT bearer (RFC 7523).',
      remedy: 'Send the parameters that docs/fleet-tokens.md lists, each once.',
    },
    REGISTRAR_GRANT: {
      status: 400,
      sentence: 'The registrar has only the grants of token exchange and of the JWT bearer.',
      remedy: 'Send grant_type=urn:ietf:params:oauth:grant-type:token-exchange.',
    },
    REGISTRAR_FORMAT: {
      status: 400,
      sentence: 'The audience takes no tokens of this format.',
      remedy: 'Ask for one of its formats, or name the format in its [[audience]].',
    },
    REGISTRAR_SUBJECT: {
      status: 400,
      sentence: 'The identity token does not say which user or unit asks.',
      remedy: 'Have an agent that says it make the identity token, or set subject = "instance".',
    },
    REGISTRAR_NOT_ALLOWED: {
      status: 400,
      sentence: 'The instance may have no tokens for this audience.',
      remedy: 'Name the instance in the [[audience]], or ask for another audience.',
    },
    REGISTRAR_DPOP: {
      status: 400,
      sentence: 'The DPoP proof is missing or does not hold.',
      remedy: 'Sign one with SK for this request and for an access token (RFC 9449).',
    },
    REGISTRAR_DPOP_NONCE: {
      status: 400,
      sentence: 'The DPoP proof has no nonce of this registrar, or an old one.',
      remedy: 'Sign another one with the nonce that the answer has in its header DPoP-Nonce.',
    },
    REGISTRAR_DPOP_REPLAY: {
      status: 400,
      sentence: 'The DPoP proof was used before.',
      remedy: 'Sign one for each request.',
    },
    REGISTRAR_AUDIENCE: {
      status: 400,
      sentence: 'No tokens are issued for this audience.',
      remedy: 'Name it in an [[audience]] of the configuration, letter by letter.',
    },
    REGISTRAR_USED: {
      status: 400,
      sentence: 'The identity token was exchanged before.',
      remedy: 'Make a new one for each exchange.',
    },
    REGISTRAR_STATE: {
      status: 409,
      sentence: 'That cannot be done to an instance in this state.',
      remedy: 'See its state with metabind-registrar show; docs/fleet.md has what leads where.',
    },
    REGISTRAR_BUSY: {
      status: 503,
      sentence: 'The registrar does not get to it, as others are first all the time.',
      remedy: 'Try again in a few seconds.',
    },
    REGISTRAR_HSM: {
      status: 503,
      sentence: 'The PKCS #11 token of the registrar cannot be used.',
      remedy:
        'See its log and metabind-registrar check: whether module and token are there, and the unit lets it reach them.',
    },
    REGISTRAR_PIN: {
      status: 503,
      sentence: 'The PKCS #11 token of the registrar cannot be used, as it refused the PIN.',
      remedy:
        'Write the right PIN to keys.pkcs11.pin and reload, or restart: a refused one is not tried again.',
    },
    REGISTRAR_RUNNING: {
      sentence: 'Another process has the database of the registrar open.',
      remedy: 'Stop the registrar, and let its other verbs end, before a restore.',
    },
    REGISTRAR_DATABASE: {
      status: 503,
      sentence: 'The database of the registrar cannot be used.',
      remedy:
        'See that its server answers or its disk is not full, and that it is of this version and of this master key.',
    },
    REGISTRAR_EVENTS: {
      sentence: 'The chain of events does not continue what was signed of it.',
      remedy:
        'Find out who writes the database; metabind-registrar events --verify says from where on it is another.',
    },
    REGISTRAR_CHECKPOINT: {
      sentence: 'A checkpoint of events cannot be used.',
      remedy: 'Take one as the registrar logged it; one that is in the database was put there.',
    },
    REGISTRAR_TLS: {
      sentence: 'The certificate of the registrar or its key cannot be used.',
      remedy:
        'Name a certificate and its key in PEM; the key is of mode 0600, or of root and 0640 at most.',
    },
  }),
} satisfies Record<string, ErrorEntry>

function family<Code extends string>(
  status: number,
  entries: Readonly<Record<Code, FamilyEntry>>,
): Readonly<Record<Code, ErrorEntry>> {
  const filled = Object.entries<FamilyEntry>(entries).map(([code, entry]) => [
    code,
    { status, ...entry },
  ])
  // Object.fromEntries forgets which keys it was given.
  return Object.fromEntries(filled) as Record<Code, ErrorEntry>
}
