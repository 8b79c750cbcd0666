/* SPDX-License-Identifier: BSD-3-Clause */
/* The return codes' names for people, as the specification has them (CXL 3.1 8.2.8.4.5.1). */
#ifndef CXL_RC_NAMES_H
#define CXL_RC_NAMES_H

#include "cxl/cci.h"

/* Initializes an array of strings that is indexed by enum cxl_rc. */
/* clang-format off */
#define CXL_RC_NAMES { \
	[CXL_RC_SUCCESS] = "Success", \
	[CXL_RC_BACKGROUND_STARTED] = "Background Command Started", \
	[CXL_RC_INVALID_INPUT] = "Invalid Input", \
	[CXL_RC_UNSUPPORTED] = "Unsupported", \
	[CXL_RC_INTERNAL_ERROR] = "Internal Error", \
	[CXL_RC_RETRY_REQUIRED] = "Retry Required", \
	[CXL_RC_BUSY] = "Busy", \
	[CXL_RC_MEDIA_DISABLED] = "Media Disabled", \
	[CXL_RC_FW_TRANSFER_IN_PROGRESS] = "FW Transfer in Progress", \
	[CXL_RC_FW_TRANSFER_OUT_OF_ORDER] = "FW Transfer Out of Order", \
	[CXL_RC_FW_AUTH_FAILED] = "FW Authentication Failed", \
	[CXL_RC_FW_INVALID_SLOT] = "Invalid Slot", \
	[CXL_RC_FW_ACTIVATION_ROLLED_BACK] = "Activation Failed, FW Rolled Back", \
	[CXL_RC_FW_ACTIVATION_COLD_RESET] = "Activation Failed, Cold Reset Required", \
	[CXL_RC_INVALID_HANDLE] = "Invalid Handle", \
	[CXL_RC_INVALID_PA] = "Invalid Physical Address", \
	[CXL_RC_INJECT_POISON_LIMIT] = "Inject Poison Limit Reached", \
	[CXL_RC_MEDIA_FAILURE] = "Permanent Media Failure", \
	[CXL_RC_ABORTED] = "Aborted", \
	[CXL_RC_INVALID_SECURITY_STATE] = "Invalid Security State", \
	[CXL_RC_INCORRECT_PASSPHRASE] = "Incorrect Passphrase", \
	[CXL_RC_UNSUPPORTED_MAILBOX] = "Unsupported Mailbox", \
	[CXL_RC_INVALID_PAYLOAD_LENGTH] = "Invalid Payload Length", \
	[CXL_RC_INVALID_LOG] = "Invalid Log", \
	[CXL_RC_INTERRUPTED] = "Interrupted", \
	[CXL_RC_UNSUPPORTED_FEATURE_VERSION] = "Unsupported Feature Version", \
	[CXL_RC_UNSUPPORTED_FEATURE_SELECTION] = "Unsupported Feature Selection Value", \
	[CXL_RC_FEATURE_TRANSFER_IN_PROGRESS] = "Feature Transfer in Progress", \
	[CXL_RC_FEATURE_TRANSFER_OUT_OF_ORDER] = "Feature Transfer Out of Order", \
	[CXL_RC_RESOURCES_EXHAUSTED] = "Resources Exhausted", \
	[CXL_RC_INVALID_EXTENT_LIST] = "Invalid Extent List", \
	[CXL_RC_TRANSFER_OUT_OF_ORDER] = "Transfer Out of Order", \
	[CXL_RC_ABORT_NOT_SUPPORTED] = "Request Abort Not Supported", \
}
/* clang-format on */

#endif
